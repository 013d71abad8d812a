# SPDX-License-Identifier: Apache-2.0
# Benchmarks and fuzz targets; included by the Makefile.

PYTHON ?= python3
BENCHSRC := $(sort $(wildcard tests/bench/bench_*.c))
BENCH := $(BENCHSRC:%.c=$(OBJ)/%)
$(BENCH): $(OBJ)/%: $(OBJ)/%.o $(LIB)
	$(SAY) LINK $@
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
# what a benchmark says is kept for bounds.sh: $(call keep,NAME,COMMAND)
SAID := $(BUILD)/bench/said
keep = mkdir -p $(SAID); rm -f $(SAID)/failed; { $(2) || touch $(SAID)/failed; } | tee $(SAID)/$(1); [ ! -e $(SAID)/failed ]
bench: $(BENCH) tools ## time every op and a training step, beside the machine's peak, PyTorch and their bounds
	@for b in $(BENCH); do $(call keep,$${b##*/bench_},$$b) || exit 1; done
	@if $(PYTHON) -c 'import torch' 2>/dev/null; then $(call keep,torch,$(PYTHON) tests/bench/step_torch.py); \
	else rm -f $(SAID)/torch; echo 'no PyTorch here: make bench PYTHON=.../python puts the same step beside it'; fi
	@BUILD=$(abspath $(BUILD)) tests/bench/bounds.sh
bench-bounds: tools ## what the benchmarks said last, each figure beside its bound and its peer's
	@mkdir -p $(SAID); BUILD=$(abspath $(BUILD)) tests/bench/bounds.sh
# bench_step where a script finds it
bench-step: $(OBJ)/tests/bench/bench_step
	@mkdir -p $(BUILD)/bench && cp -f $< $(BUILD)/bench/step
bench-isa: ## steps of builds for CPUs with AVX2 and with neither, beside PyTorch held to the same (PYTHON)
	@for a in x86-64-v3 x86-64; do $(MAKE) --no-print-directory CUDA=0 ARCH=$$a BUILD=$(BUILD)/isa/$$a bench-step || exit 1; done
	@$(call keep,isa,BUILD=$(abspath $(BUILD)) PYTHON=$(PYTHON) tests/bench/isa.sh)
.PHONY: bench-bounds bench-step bench-isa

# calls of groups beside the MPI library's own
$(BUILD)/bench/comm: $(OBJ)/tests/bench/comm.o $(LIB)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
bench-dist: $(BUILD)/bench/comm tools ## 2 ranks of this machine: their calls beside MPI's own, training beside one rank
	@OMP_NUM_THREADS=1 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 $<
	@PATH=$(abspath $(BUILD)/bin):$$PATH tests/bench/dist.sh
.PHONY: bench-dist

# for tests/dist/place.sh a plugin that calls the CPU a GPU, for tests/media/sandbox.sh a decoder led astray,
# for tests/dist/saving.sh one whose writes wait
PRELOAD := $(OBJ)/tests/dist/fake_gpu.so $(OBJ)/tests/dist/stuck.so $(OBJ)/tests/dist/peak.so $(OBJ)/tests/train/locks.so \
	$(if $(filter 1,$(FFMPEG)),$(OBJ)/tests/media/astray.so)
$(PRELOAD): %.so: %.o
	$(SAY) LINK $@
	$(Q)$(CC) -shared -o $@ $< $(filter -fsanitize%,$(LDFLAGS_ALL)) -ldl
tests: $(PRELOAD)

# where text finds no memory
$(OBJ)/tests/base/check_base: LDFLAGS_ALL += -Wl,--wrap=realloc

check-curve: tools examples ## both stages of the demo in bf16 and fp8 beside fp32
	@PLAN=none CURVE=demo BIN=$(abspath $(BUILD)/bin) EXAMPLES=$(abspath $(BUILD)/examples) LIMIT=36000 \
		tests/run tests/cmd/bf16-curve.sh
.PHONY: check-curve

check-slurm: tools examples ## the batch files of examples/jobs under a real Slurm (slurm-wlm, munge) of this machine
	@PLAN=none BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) EXAMPLES=$(abspath $(BUILD)/examples) MPI=$(MPI) \
		tests/run tests/slurm/slurm.sh
.PHONY: check-slurm

check-dist: tools tests ## every layout of tests/dist/layouts.txt against one rank and its plan, configurations as published
	@PLAN=none LAYOUTS=$(or $(LAYOUTS),all) BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) MPI=$(MPI) LIMIT=3600 \
		tests/run tests/dist/all.sh tests/dist/plan.sh tests/dist/published.sh tests/dist/matrix.sh
.PHONY: check-dist

check-faults: tools tests ## FAULTS=100 random faults of 2 to 8 ranks: killed, stopped, slowed, other build
	@FAULTS=$(or $(FAULTS),100) SEED=$(or $(SEED),1) PLAN=none BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) MPI=$(MPI) \
		LIMIT=3600 tests/run tests/dist/lost.sh
.PHONY: check-faults

check-repro: ## the tarball of make dist, built twice in two places, has the same bytes (CUDA=1: the plugins too)
	@PLAN=none CUDA=$(CUDA) LIMIT=3600 tests/run tests/supply/repro.sh
check-deb: tools examples ## the package of make deb in a fresh Debian (root, debootstrap; MIRROR=URL)
	@PLAN=none BIN=$(abspath $(BUILD)/bin) EXAMPLES=$(abspath $(BUILD)/examples) LIMIT=3600 tests/run tests/supply/deb.sh
.PHONY: check-repro check-deb

# the same checks as in `make check`, on larger models and 81 frames; the dumps take 700 MB
REF_DIR ?= $(BUILD)/ref
REF_CHECKS := $(foreach k,net vae vae_tile umt5 tokenizer sampler pipe memory,$(OBJ)/tests/model/check_$k)
check-reference: ## make the large dumps with PYTHON (see tests/reference/README.md) and compare with them
	@$(MAKE) --no-print-directory tools tests -j2
	$(PYTHON) tests/reference/make.py --large $(REF_DIR)
	@PLAN=none WAN_REF=$(abspath $(REF_DIR)) BIN=$(abspath $(BUILD)/bin) tests/run $(REF_CHECKS)

# wan-encode at full size: time and memory (writes 12 GB of random weights into build/bench)
$(BUILD)/bench/make_model: $(OBJ)/tests/data/make_model.o $(LIB)
$(BUILD)/bench/vae: $(OBJ)/tests/bench/vae.o $(LIB)
$(BUILD)/bench/make_model $(BUILD)/bench/vae:
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
tests: $(BUILD)/bench/make_model $(BUILD)/bench/vae
bench-vae: $(BUILD)/bench/make_model $(BUILD)/bench/vae ## the VAE of full width beside diffusers (PYTHON with torch)
	@BUILD=$(abspath $(BUILD)) PYTHON=$(PYTHON) tests/bench/vae.sh
bench-sample: $(BUILD)/bench/make_model tools ## where the time of a picture goes: a random 1.3B, 832x480
	@BUILD=$(abspath $(BUILD)) tests/bench/sample.sh
bench-sample-peer: $(BUILD)/bench/make_model tools ## a picture from its prompt beside diffusers (PYTHON with it): 15 GB of random weights
	@$(call keep,sample-peer,BUILD=$(abspath $(BUILD)) PYTHON=$(PYTHON) tests/bench/sample_peer.sh)
bench-quant: $(BUILD)/bench/make_model tools ## a pass with quantised weights beside stable-diffusion.cpp (SDCPP=DIR, its source)
	@$(call keep,quant,BUILD=$(abspath $(BUILD)) SDCPP=$(SDCPP) tests/bench/sdcpp.sh)
.PHONY: bench-vae bench-sample bench-sample-peer bench-quant
bench-encode: $(BUILD)/bench/make_model tools ## time and memory of wan-encode with full-size random models
	@BUILD=$(abspath $(BUILD)) tests/bench/encode.sh
# others' programs from PyPI, 12 GB with the CUDA libraries of two torches: tests/supply/venvs.sh
INTEROP ?= $(BUILD)/interop
check-interop: tools examples ## against webdataset, Energon 6.0.1 and 7, datasets, diffusers, transformers, torch of two ages, safetensors, TensorBoard, W&B, OmegaConf (INTEROP=DIR)
	@PYTHON=$(PYTHON) tests/supply/venvs.sh $(INTEROP)
	@WAN_INTEROP=$(abspath $(INTEROP)) PLAN=none LIMIT=3600 $(MAKE) --no-print-directory check-run \
		PYTHON=$(abspath $(INTEROP))/now/bin/python K='shards models tensorboard wandb omegaconf'
.PHONY: check-interop
bench-data: tools ## wan-decode beside the ffmpeg CLI on the clips of SAMPLES
	@BUILD=$(abspath $(BUILD)) tests/bench/data.sh
.PHONY: bench-encode bench-data

include tests/gpu/gpu.mk
include tests/reliability/reliability.mk
include tests/fuzz/fuzz.mk
