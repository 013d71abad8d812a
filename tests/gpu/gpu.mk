# SPDX-License-Identifier: Apache-2.0
# Checks and benchmarks on a GPU, and of the CUDA code without one; included by tests/tests.mk.
# They need gcc, make and the CUDA toolkit alone (CORE=1): no package of the distribution.

GPU_CHECK := act adamw attention attention_parts conv embed layernorm linear linear8 mse noise pick plans qkv residual resnorm rmsnorm vaeop vector
GPU_PROG := $(GPU_CHECK:%=$(OBJ)/tests/kernels/check_%) $(OBJ)/tests/gpu/check_device \
	$(OBJ)/tests/gpu/check_strict $(OBJ)/tests/gpu/check_bytes $(OBJ)/tests/gpu/check_record
GPU_GRAPH := $(if $(and $(PLUGIN),$(CUDNN)),$(BUILD)/gpu/check_sdpa_graph)
# the plugin for a machine on which cuDNN is missing
GPU_PLAIN := $(if $(GPU_GRAPH),$(BUILD)/lib/libwan-cuda-plain.so)
PLAIN_OBJ := $(patsubst %.cu,$(OBJ)/cuda/%.o,kernels/attention_cudnn_none.cu kernels/conv_cudnn_none.cu \
	$(filter-out %_cudnn.cu %_none.cu kernels/sdpa_%,$(wildcard kernels/*.cu)))
# without a GPU these say why they skip and end with 0; CUDA_ARCH=90a builds for one chip
gpu-programs: ## build what check-gpu and bench-gpu run
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core gpu-programs-run
gpu-programs-run: $(PLUGIN) $(GPU_PLAIN) $(GPU_PROG) $(GPU_GRAPH) $(BUILD)/gpu/bench_gpu
first-run: ## the first minutes on a GPU: what teaches most comes first, all ends within 9 minutes
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core first-run-run
first-run-run: gpu-programs-run
	@PLUGIN=$(abspath $(PLUGIN)) PLAIN=$(abspath $(GPU_PLAIN)) OBJ=$(abspath $(OBJ)) GRAPH=$(abspath $(GPU_GRAPH)) \
		BENCH=$(abspath $(BUILD)/gpu/bench_gpu) CUDA_HOME=$(CUDA_HOME) PYTHON=$(PYTHON) CHECKS='$(GPU_CHECK) device record' \
		tests/gpu/first-run.sh $(FIRST)
check-gpu: ## every CUDA kernel and a small training run on the GPU against the reference
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core check-gpu-run
check-gpu-run: $(PLUGIN) $(GPU_PROG) $(GPU_GRAPH)
	@PLUGIN=$(abspath $(PLUGIN)) OBJ=$(abspath $(OBJ)) GRAPH=$(abspath $(GPU_GRAPH)) CUDA_HOME=$(CUDA_HOME) \
		CHECKS='$(GPU_CHECK)' tests/gpu/check-gpu.sh
bench-gpu: ## time ops and training steps on the GPU, beside its ceilings and PyTorch
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core bench-gpu-run
bench-gpu-run: $(PLUGIN) $(BUILD)/gpu/bench_gpu
	@WAN_CUDA_PLUGIN=$(abspath $(PLUGIN)) BENCH=$(abspath $(BUILD)/gpu/bench_gpu) CUDA_HOME=$(CUDA_HOME) \
		PYTHON=$(PYTHON) tests/gpu/bench-gpu.sh

$(BUILD)/lib/libwan-cuda-plain.so: $(PLAIN_OBJ)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(NVCC) -shared -o $@ $^ -cudart static -Xlinker --no-undefined $(addprefix -Xlinker ,$(call vendor_lib,cublasLt))
$(BUILD)/gpu/bench_gpu: $(OBJ)/tests/gpu/bench_gpu.o $(OBJ)/tests/gpu/bench_whole.o $(OBJ)/tests/gpu/bench_count.o $(LIB)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $(filter %.o,$^) $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
$(BUILD)/gpu/check_sdpa_graph: tests/gpu/check_sdpa_graph.cu $(patsubst %,$(OBJ)/cuda/kernels/%.o,sdpa_graph sdpa_plan conv_graph_cudnn)
	$(SAY) NVCC $@
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(NVFLAGS) -o $@ $^ $(VENDOR_LINK)

# ---- what the compiler made of the kernels
check-sass: $(PLUGIN) ## registers, spills, widths of loads and stores of every compiled kernel against tests/gpu/kernels.txt
	@mkdir -p $(BUILD)/gpu
	@PLUGIN=$(abspath $(PLUGIN)) TABLE=$(abspath $(BUILD)/gpu/kernels.tsv) CUDA_HOME=$(CUDA_HOME) PLAN=none \
		tests/run tests/gpu/sass.sh
sass-tools: # cuobjdump and nvdisasm, for a toolkit that lacks them
	@command -v cuobjdump nvdisasm >/dev/null || { python3 -m venv build/sass && build/sass/bin/pip -q install \
		nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm; }
.PHONY: check-sass sass-tools

# ---- without a GPU: the same kernels as CPU code (fibers for threads), and cuDNN's plans for an H100
EMU_OBJ := $(CUSRC:%.cu=$(OBJ)/emu/%.o) $(OBJ)/emu/emu.o $(OBJ)/emu/emu_tensor.o $(if $(CUDNN),$(OBJ)/emu/emu_cudnn.o)
# a misplaced vector access, or an index behind an array of registers, is a trap
EMU_FLAGS := -std=c++17 -O2 -g1 -fPIC -U_FORTIFY_SOURCE -Wall -Itests/gpu/emu -I. $(DEFS) \
	-DWAN_CUDA_ARCH='"emulation"' -fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error \
	$(if $(CUDNN),-idirafter $(CUDA_HOME)/include -idirafter $(call vendor_inc,cudnn.h))
$(OBJ)/emu/%.o: %.cu
	$(SAY) EMU $<
	@mkdir -p $(@D)
	$(Q)$(CXX) -x c++ $(EMU_FLAGS) -MMD -MP -c -o $@ $<
$(OBJ)/emu/%.o: tests/gpu/emu/%.cc
	$(SAY) EMU $<
	@mkdir -p $(@D)
	$(Q)$(CXX) $(EMU_FLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/gpu/libwan-emu.so: $(EMU_OBJ)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -shared -o $@ $^ -Wl,--no-undefined
# the same kernels, which tell of every load and store (emu_trace.cc)
TRACE_OBJ := $(EMU_OBJ:$(OBJ)/emu/kernels/%=$(OBJ)/trace/kernels/%) $(OBJ)/emu/emu_trace.o
$(OBJ)/trace/%.o: %.cu
	$(SAY) TRACE $<
	@mkdir -p $(@D)
	$(Q)$(CXX) -x c++ $(filter-out -fsanitize%,$(EMU_FLAGS)) -fsanitize=thread -MMD -MP -c -o $@ $<
$(BUILD)/gpu/libwan-emu-trace.so: $(TRACE_OBJ)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -shared -o $@ $^ -Wl,--no-undefined
# the NCCL transport over the emulated device, and an NCCL of processes of one machine
$(OBJ)/emu/comm_nccl.o: lib/dist/comm_nccl.c $(wildcard lib/dist/*.h tests/gpu/emu/*.h)
	$(SAY) EMU $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC $(WARN) -Itests/gpu/emu -c -o $@ $<
$(BUILD)/gpu/libwan-nccl-emu.so: $(OBJ)/emu/comm_nccl.o $(OBJ)/emu/emu_nccl.o $(BUILD)/gpu/libwan-emu.so
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -shared -o $@ $(filter %.o,$^) $(abspath $(BUILD)/gpu/libwan-emu.so) -lpthread -lrt
# a libcuda that answers every call with success, so that cuDNN gets as far as loading its kernels
$(BUILD)/gpu/nodriver/libcuda.so.1: tests/gpu/nodriver.c
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)nm -D --defined-only $(CUDA_HOME)/lib64/stubs/libcuda.so | sed -n \
		's/.* T \(cu[A-Za-z0-9_]*\)$$/__attribute__((weak)) int \1(void) { return 0; }/p' > $@.c
	$(Q)$(CC) -w -shared -fPIC -o $@ $< $@.c -ldl
check-emu: ## the CUDA kernels on an emulated device, and cuDNN's plans for an H100: no GPU needed
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core check-emu-run -j2
check-emu-run: $(BUILD)/gpu/libwan-emu.so $(BUILD)/gpu/libwan-emu-trace.so $(GPU_PROG) $(GPU_GRAPH) $(BUILD)/gpu/bench_gpu \
		$(if $(GPU_GRAPH),$(BUILD)/gpu/nodriver/libcuda.so.1)
	@PLUGIN=$(abspath $(BUILD)/gpu/libwan-emu.so) OBJ=$(abspath $(OBJ)) WAN_CHECK_SMALL=1 \
		TRACE=$(abspath $(BUILD)/gpu/libwan-emu-trace.so) \
		NODRIVER=$(abspath $(BUILD)/gpu/nodriver) GRAPH=$(abspath $(GPU_GRAPH)) \
		CHECKS='$(GPU_CHECK)' tests/gpu/check-gpu.sh
	@$(BUILD)/gpu/bench_gpu --count >$(BUILD)/gpu/count.log && ! grep 'OUT OF REACH' $(BUILD)/gpu/count.log
	@$(MAKE) --no-print-directory rehearsal
rehearsal: $(BUILD)/gpu/libwan-emu.so $(GPU_PROG) $(BUILD)/gpu/bench_gpu # first-run.sh with planted faults
	@EMU=$(abspath $(BUILD)/gpu/libwan-emu.so) CORE=$(abspath $(BUILD)) OBJ=$(abspath $(OBJ)) PLAN=none \
		LIMIT=$(or $(LIMIT),3600) tests/run tests/gpu/rehearsal.sh
check-emu-ranks: tools tests examples ## several ranks on one emulated device; the whole path on it beside the CPU
	@$(MAKE) --no-print-directory CORE=1 BUILD=$(BUILD)/core $(BUILD)/core/gpu/libwan-nccl-emu.so
	@EMU=$(abspath $(BUILD)/core/gpu/libwan-emu.so) EMU_NCCL=$(abspath $(BUILD)/core/gpu/libwan-nccl-emu.so) \
		BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) EXAMPLES=$(abspath $(BUILD)/examples) MPI=$(MPI) PLAN=none \
		LIMIT=$(or $(LIMIT),3600) tests/run tests/gpu/emu_ranks.sh tests/gpu/emu_chain.sh
.PHONY: first-run first-run-run rehearsal gpu-programs gpu-programs-run check-gpu-run bench-gpu-run check-emu check-emu-run check-emu-ranks
-include $(EMU_OBJ:.o=.d) $(TRACE_OBJ:.o=.d)
