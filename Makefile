# SPDX-License-Identifier: Apache-2.0
# wan-tools: one makefile, not recursive.  `make help` lists the targets.

# ---- knobs: make CUDA=0 MPI=0 FFMPEG=0 DNNL=0 DEBUG=1 ASAN=1 HARDEN=0 WERROR=1 V=1 ARCH=native
CUDA ?= auto
MPI ?= auto
NCCL ?= auto
FFMPEG ?= auto
DNNL ?= auto
CORE ?= 0
CORE_SRC ?= $(wildcard lib/base/err.c lib/base/log.c lib/base/dtype.c lib/base/rng*.c lib/base/normal.c lib/base/file.c lib/base/mem.c \
	lib/base/out.c lib/base/crc32c.c lib/base/quant.c lib/base/dynlib.c lib/model/*.c lib/model/block/*.c lib/model/wan/*.c lib/model/dit/*.c lib/train/step.c lib/train/optim.c \
	lib/model/wing/*.c lib/dist/*.c $(addprefix lib/model/vae/vae,.c _decode.c _encode.c _layout.c _load.c _share.c _stream.c _tile.c))
DEBUG ?= 0
ASAN ?= 0
HARDEN ?= 1
WERROR ?= 0
V ?= 0
ARCH ?= native
CUDA_ARCH ?= 80 90a 100
# where nvcc is, unless it is in the usual place
CUDA_HOME ?= $(or $(wildcard /usr/local/cuda),$(patsubst %/bin/nvcc,%,$(realpath $(shell command -v nvcc 2>/dev/null))))
PREFIX ?= /usr/local
BUILD ?= build
CC ?= gcc
CXX ?= g++
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O3 -g1
VERSION := 0.1.0
# a tarball of `make dist` says in .commit what it was made of
COMMIT := $(shell cat .commit 2>/dev/null || git rev-parse --short HEAD 2>/dev/null || echo unknown)

# ---- what is here
have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo 1 || echo 0)
probe = $(if $(filter auto,$(1)),$(2),$(1))
NVCC ?= $(shell command -v nvcc 2>/dev/null || ls $(CUDA_HOME)/bin/nvcc 2>/dev/null)
override FFMPEG := $(call probe,$(FFMPEG),$(call have,libavformat libavcodec libavutil libswscale libavfilter))
override MPI := $(call probe,$(MPI),$(call have,ompi-c))
override DNNL := $(call probe,$(DNNL),$(shell ls /usr/include/dnnl.h /usr/include/*/dnnl.h 2>/dev/null | grep -q . && echo 1 || echo 0))
override CUDA := $(call probe,$(CUDA),$(if $(NVCC),1,0))
override NCCL := $(if $(filter 0,$(CUDA)),0,$(call probe,$(NCCL),$(if $(wildcard $(CUDA_HOME)/include/nccl.h),1,0)))
ifeq ($(CORE),1) # kernels, model and step alone: gcc, make and the CUDA toolkit suffice
override FFMPEG := 0
override MPI := 0
override DNNL := 0
endif

# ---- sources: every file is found by its folder; X_none.c stands in for a feature left out
SKIP := lib/dist/comm_nccl.c
PKGS := jansson libarchive yaml-0.1 sqlite3 sentencepiece libutf8proc zlib
LIBS :=
DEFS := -D_GNU_SOURCE -DWAN_VERSION='"$(VERSION)"'
ifeq ($(FFMPEG),1)
PKGS += libavformat libavcodec libavutil libswscale libavfilter
SKIP += $(wildcard lib/media/video*_none.c)
else
SKIP += $(filter-out %_none.c,$(wildcard lib/media/video*.c))
endif
ifeq ($(MPI),1)
PKGS += ompi-c
SKIP += lib/dist/comm_mpi_none.c
else
SKIP += $(filter-out %_none.c,$(wildcard lib/dist/comm_mpi*.c))
endif
ifeq ($(DNNL),1)
LIBS += -ldnnl
SKIP += $(wildcard kernels/*_dnnl_none.c)
else
SKIP += $(wildcard kernels/*_dnnl.c)
endif
SRC := $(filter-out $(SKIP),$(sort $(wildcard lib/*/*.c lib/*/*/*.c kernels/*.c)))
CCSRC := $(sort $(wildcard lib/*/*.cc lib/*/*/*.cc) $(if $(filter 1,$(DNNL)),$(wildcard kernels/*.cc)))
ifeq ($(CORE),1)
PKGS :=
SRC := $(filter-out $(SKIP),$(sort $(wildcard kernels/*.c) $(CORE_SRC)))
CCSRC :=
endif
TOOLS := $(patsubst cmd/%.c,%,$(sort $(wildcard cmd/*.c)))

# ---- flags; the object folder is named after them, so changing a knob never mixes objects
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
ifeq ($(WERROR),1)
WARN += -Werror
endif
ALL_CFLAGS := -std=gnu11 $(CFLAGS) -fopenmp -fno-math-errno -fno-trapping-math -fPIC -I. $(DEFS) \
	$(if $(ARCH),-march=$(ARCH))
LDFLAGS_ALL := -fopenmp -Wl,--as-needed -Wl,--export-dynamic-symbol=wan_* $(LDFLAGS)
# no checks of buffers where there is no optimiser, or AddressSanitizer in their place
ifeq ($(HARDEN)$(DEBUG)$(ASAN),100)
HARD_CFLAGS := -fstack-protector-strong -fstack-clash-protection
ALL_CFLAGS += $(HARD_CFLAGS) -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
ifeq ($(HARDEN),1)
HARD_LD := -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_ALL += -pie $(HARD_LD)
endif
# not in ALL_CFLAGS: the name of the object folder comes from them, and no output from this folder's
SAME := -ffile-prefix-map=$(CURDIR)=.
ifeq ($(DEBUG),1)
ALL_CFLAGS += -O0 -g3
endif
ifeq ($(ASAN),1)
ALL_CFLAGS += -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=address,undefined
endif
ifneq ($(PKGS),)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)
endif
CFG := $(shell echo '$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(CUDA_ARCH)' $$(uname -m) $$(grep -m1 -h '^model\s*:' /proc/cpuinfo) | cksum | cut -d' ' -f1)
OBJ := $(BUILD)/obj/$(CFG)
SAY = $(if $(filter 1,$(V)),@:,@printf '  %-5s %s\n')
Q = $(if $(filter 1,$(V)),,@)

LIB := $(OBJ)/libwan.a
OBJS := $(SRC:%.c=$(OBJ)/%.o) $(CCSRC:%.cc=$(OBJ)/%.o)
# the model and the reference kernels in double, for finite differences
SRC64 := $(sort $(filter-out %_dnnl.c %_simd.c %_dnnl_none.c,$(wildcard kernels/*.c))) \
	$(wildcard lib/base/err.c lib/base/dtype.c lib/base/rng*.c lib/base/normal.c lib/base/log.c lib/base/file.c lib/base/mem.c \
	lib/base/out.c lib/base/crc32c.c lib/base/quant.c lib/base/dynlib.c lib/model/*.c lib/model/block/*.c lib/model/wan/*.c lib/model/dit/*.c lib/model/sample/sampler*.c)
LIB64 := $(OBJ)/f64/libwan64.a
OBJS64 := $(SRC64:%.c=$(OBJ)/f64/%.o)
BIN := $(TOOLS:%=$(BUILD)/bin/%)
PLUGIN := $(if $(filter 1,$(CUDA)),$(BUILD)/lib/libwan-cuda.so)
NCCL_PLUGIN := $(if $(filter 10,$(NCCL)$(CORE)),$(BUILD)/lib/libwan-nccl.so)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all tools cuda tests examples demo check check-run plan check-amx check-asan check-gpu check-reference check-mutations bench bench-gpu \
	man lint install clean help deps fuzz FORCE

all: $(BIN) $(PLUGIN) $(NCCL_PLUGIN) ## build the tools into build/bin (and the CUDA plugin where nvcc is)
tools: $(BIN) ## build the tools without the CUDA plugin
cuda: $(PLUGIN) $(NCCL_PLUGIN) ## build the CUDA plugin
deps: ## install the Debian packages that are missing
	@.ci/deps

$(OBJ)/%.o: %.c
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SAME) $(WARN) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(OBJ)/%.o: %.cc
	$(SAY) CXX $<
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 $(filter-out -std=gnu11,$(ALL_CFLAGS)) $(SAME) -Wall $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
# what oneDNN throws passes through them
$(OBJ)/kernels/%_dnnl.o: ALL_CFLAGS += -fexceptions
$(OBJ)/f64/%.o: %.c
	$(SAY) CC64 $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SAME) $(WARN) -DWAN_REAL_F64 $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
# the one object that holds the commit, so that a new commit relinks but does not recompile
$(OBJ)/lib/base/version.o: ALL_CFLAGS += -DWAN_COMMIT='"$(COMMIT)"' -DWAN_FLAGS='"$(subst ",,$(CFLAGS)) -march=$(ARCH)"'
$(OBJ)/lib/base/version.o: $(OBJ)/commit
$(OBJ)/commit: FORCE
	@mkdir -p $(@D); echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' > $@
FORCE:

$(LIB): $(OBJS)
	$(SAY) AR $@
	$(Q)rm -f $@ && ar rcsD $@ $^
$(LIB64): $(OBJS64)
	$(SAY) AR $@
	$(Q)rm -f $@ && ar rcsD $@ $^

$(OBJ)/bin/%: $(OBJ)/cmd/%.o $(LIB)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
$(BUILD)/bin/%: $(OBJ)/bin/%
	@mkdir -p $(@D)
	$(Q)cp -f $< $@.new && mv -f $@.new $@

# cuDNN and cuBLAS: of the toolkit, of the system, or of Python's packages (where PyTorch keeps them)
ifeq ($(CUDA),1)
VENDOR := $(CUDA_HOME) /usr
vendor_inc = $(patsubst %/$(1),%,$(firstword $(wildcard $(VENDOR:%=%/include/$(1)))))
vendor_lib = $(firstword $(foreach d,$(VENDOR),$(sort $(wildcard $(d)/lib64/lib$(1).so* $(d)/lib/lib$(1).so* \
	$(d)/lib/*-linux-gnu/lib$(1).so*))))
vendor_has = $(and $(call vendor_inc,$(1).h),$(call vendor_lib,$(1)))
ifeq ($(and $(call vendor_has,cublasLt),$(call vendor_has,cudnn)),)
VENDOR += $(shell python3 -c "import nvidia, glob; print(*[d for p in nvidia.__path__ for d in glob.glob(p + '/*')])" \
	2>/dev/null)
endif
ifeq ($(call vendor_has,cublasLt),)
$(error CUDA needs cublasLt.h and libcublasLt in $(CUDA_HOME), /usr or a Python package; make CUDA=0 leaves CUDA out)
endif
CUDNN := $(if $(call vendor_has,cudnn),1)
VENDOR_INC := $(addprefix -isystem ,$(filter-out $(CUDA_HOME)/include /usr/include, \
	$(sort $(call vendor_inc,cublasLt.h) $(if $(CUDNN),$(call vendor_inc,cudnn.h)))))
VENDOR_LIBS := $(call vendor_lib,cublasLt) $(if $(CUDNN),$(call vendor_lib,cudnn))
VENDOR_LINK := $(addprefix -Xlinker ,$(VENDOR_LIBS)) $(foreach d,$(sort $(dir $(VENDOR_LIBS))),-Xlinker -rpath,$(d:%/=%))
endif

# ---- CUDA plugin: opened with dlopen, never linked; no driver library is named
GENCODE := $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a))
NVFLAGS := -O3 -std=c++17 -I. -Xcompiler -fPIC -Xcompiler -Wall $(VENDOR_INC) $(DEFS) $(GENCODE) \
	-DWAN_CUDA_ARCH='"$(CUDA_ARCH)"' --threads 2 --objdir-as-tempdir $(addprefix -Xcompiler ,$(HARD_CFLAGS))
CUSRC := $(filter-out $(if $(CUDNN),%_none.cu,%_cudnn.cu kernels/sdpa_%),$(sort $(wildcard kernels/*.cu)))
CUOBJ := $(CUSRC:%.cu=$(OBJ)/cuda/%.o)
$(OBJ)/cuda/%.o: %.cu
	$(SAY) NVCC $<
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(NVFLAGS) -MMD -MP -c -o $@ $<
$(OBJ)/libwan-cuda.so: $(CUOBJ)
	$(SAY) LINK $@
	$(Q)$(NVCC) -shared -o $@ $^ -cudart static $(if $(HARD_LD),-Xlinker $(HARD_LD:-Wl,%=%)) -Xlinker --no-undefined $(VENDOR_LINK)
# for which flags it was made: a plugin for other chips is not up to date
$(BUILD)/lib/cuda.flags: FORCE
	@mkdir -p $(@D); echo '$(CFG)' | cmp -s - $@ || echo '$(CFG)' > $@
$(BUILD)/lib/libwan-cuda.so: $(OBJ)/libwan-cuda.so $(BUILD)/lib/cuda.flags
	@mkdir -p $(@D)
	$(Q)cp -f $< $@.new && mv -f $@.new $@

# the NCCL transport: a plugin too, which uses the wan_ functions of the program that opens it
$(BUILD)/lib/libwan-nccl.so: lib/dist/comm_nccl.c $(wildcard lib/dist/*.h) lib/base/dtype.h lib/base/file.h
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SAME) $(WARN) -isystem $(CUDA_HOME)/include -shared $(HARD_LD) -o $@ $< -L$(CUDA_HOME)/lib64 -lnccl \
		-lcudart_static -lpthread -ldl -lrt -Wl,-rpath,$(CUDA_HOME)/lib64

# ---- tests: every tests/*/check_*.c is a TAP program, every tests/cmd|dist|lint/*.sh a TAP script
CHECKSRC := $(sort $(wildcard tests/*/check_*.c))
CHECK64 := $(filter %_f64.c,$(CHECKSRC))
CHECKS := $(patsubst %.c,$(OBJ)/%,$(filter-out $(CHECK64),$(CHECKSRC)))
CHECKS64 := $(patsubst %.c,$(OBJ)/%,$(CHECK64))
$(CHECKS): $(OBJ)/%: $(OBJ)/%.o $(LIB)
	$(SAY) LINK $@
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
$(CHECK64:%.c=$(OBJ)/%.o): ALL_CFLAGS += -DWAN_REAL_F64
$(CHECKS64): $(OBJ)/%: $(OBJ)/%.o $(LIB64)
	$(SAY) LINK $@
	$(Q)$(CXX) -o $@ $< $(LIB64) $(LDFLAGS_ALL) -lm -ldl -lpthread
SCRIPTS := $(sort $(wildcard tests/lint/*.sh tests/cmd/*.sh tests/media/*.sh tests/dist/*.sh tests/interop/*.sh tests/reliability/*.sh))
ifneq ($(K),)
CHECKS := $(foreach k,$(K),$(filter %check_$(k) %check_$(k)_f64,$(CHECKS) $(CHECKS64)))
CHECKS64 :=
SCRIPTS := $(foreach k,$(K),$(filter %/$(k).sh,$(SCRIPTS)))
# the programs that these scripts run
tests: $(foreach h,$(shell grep -ohsE 'tests/[a-z]+/check_[a-z0-9_]+' $(SCRIPTS) $(if $(filter tests/dist/%,$(SCRIPTS)),tests/ranks.sh) \
	/dev/null | sort -u),$(if $(wildcard $(h).c),$(OBJ)/$(h)))
endif
tests: $(CHECKS) $(CHECKS64)
# the packages may be new: a second make looks again at what is here
check: deps ## run all tests that need no GPU (K=name runs one)
	@$(MAKE) --no-print-directory tools tests examples -j2
	@$(MAKE) --no-print-directory check-run
check-run: # a name of K that is no test would be tested by nothing
	@$(foreach k,$(K),$(if $(filter %/check_$(k) %/check_$(k)_f64 %/$(k).sh,$(CHECKS) $(SCRIPTS)),,$(error K=$(k): no test has that name \
		(check_NAME.c, NAME.sh or FOLDER/NAME, without check_ in front))))
	@BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) EXAMPLES=$(abspath $(BUILD)/examples) MPI=$(MPI) \
		tests/run $(CHECKS) $(CHECKS64) $(SCRIPTS)
plan: tools tests examples ## count the results of the tests (of K) into tests/plan.txt
	@PLAN_WRITE=1 $(MAKE) --no-print-directory check-run
check-asan: ## the same under AddressSanitizer and UBSan
	LIMIT=$(or $(LIMIT),3600) $(MAKE) check ASAN=1 CUDA=0 BUILD=$(BUILD)/asan

check-amx: tests ## the AMX paths on a CPU with AVX512-BF16 but no AMX
	@OBJ=$(abspath $(OBJ)) tests/run tests/kernels/amx/check.sh
check-mutations: ## break the code in known ways and demand that the tests notice
	tests/reference/mutations.sh
-include tests/tests.mk

# ---- demo, man pages, install
EXAMPLES := $(patsubst examples/tiny/%.c,$(BUILD)/examples/%,$(sort $(wildcard examples/tiny/*.c)))
$(BUILD)/examples/%: $(OBJ)/examples/tiny/%.o $(LIB)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
examples: $(EXAMPLES)
demo: ## clips to trained model to sampled mp4, all on this machine (CLIPS=dir: your own; MODEL=dit; SEED=N)
	@.ci/deps --demo $(if $(CLIPS),jq)
	@$(MAKE) --no-print-directory tools examples -j2
	@PATH=$(abspath $(BUILD)/bin):$(abspath $(BUILD)/examples):$$PATH CLIPS='$(CLIPS)' \
		SHORT='$(DEMO_SHORT)' MODEL='$(MODEL)' SEED='$(SEED)' examples/tiny/demo.sh $(BUILD)/demo

convergence: ## pictures, then video, with a noise level for each sample or each pack (SEEDS, STEPS, CLIPS)
	@$(MAKE) --no-print-directory tools examples -j2
	@PATH=$(abspath $(BUILD)/bin):$(abspath $(BUILD)/examples):$$PATH $(if $(SEEDS),SEEDS='$(SEEDS)') \
		$(if $(STEPS),STEPS='$(STEPS)') $(if $(CLIPS),CLIPS='$(CLIPS)') examples/convergence/run.sh $(BUILD)/convergence
.PHONY: convergence

man: tools ## splice the tools' option tables into the man pages
	@for t in $(TOOLS); do [ ! -f man/$$t.1 ] || { \
		{ sed '/^\.\\" BEGIN OPTIONS/q' man/$$t.1; $(BUILD)/bin/$$t --help-mdoc; \
		sed -n '/^\.\\" END OPTIONS/,$$p' man/$$t.1; } > $(BUILD)/$$t.1 && \
		{ cmp -s $(BUILD)/$$t.1 man/$$t.1 || cp $(BUILD)/$$t.1 man/$$t.1; }; }; done
	@t=man/wan-train.1; { sed '/^\.\\" BEGIN KEYS/q' $$t; $(BUILD)/bin/wan-train --help-keys-mdoc; \
		sed -n '/^\.\\" END KEYS/,$$p' $$t; } > $(BUILD)/keys.1 && { cmp -s $(BUILD)/keys.1 $$t || cp $(BUILD)/keys.1 $$t; }
lint: tools ## layers, headers, man pages
	@BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) tests/run $(sort $(wildcard tests/lint/*.sh))

SHARE = $(DESTDIR)$(PREFIX)/share
COMPLETIONS := $(TOOLS:%=$(BUILD)/completions/%.bash) $(TOOLS:%=$(BUILD)/completions/%.zsh)
$(BUILD)/completions/%.bash: $(BUILD)/bin/%
	@mkdir -p $(@D)
	$(Q)$< --help-bash > $@
$(BUILD)/completions/%.zsh: $(BUILD)/bin/%
	@mkdir -p $(@D)
	$(Q)$< --help-zsh > $@
completions: $(COMPLETIONS) ## completion for bash and zsh, from the option tables
install: all completions ## install into DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(addprefix $(SHARE)/man/man,1 5 7) $(SHARE)/wan-tools/configs \
		$(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions
	install -m755 $(BIN) $(DESTDIR)$(PREFIX)/bin
	$(if $(PLUGIN)$(NCCL_PLUGIN),install -m755 $(PLUGIN) $(NCCL_PLUGIN) $(DESTDIR)$(PREFIX)/lib)
	install -m644 examples/configs/*.yaml $(SHARE)/wan-tools/configs
	for s in 1 5 7; do install -m644 man/*.$$s $(SHARE)/man/man$$s; done
	for t in $(TOOLS); do install -m644 $(BUILD)/completions/$$t.bash $(SHARE)/bash-completion/completions/$$t; \
		install -m644 $(BUILD)/completions/$$t.zsh $(SHARE)/zsh/site-functions/_$$t; done

DIST := wan-tools-$(VERSION)
dist: $(BUILD)/$(DIST).tar.gz ## the last commit as a tarball that builds without git
$(BUILD)/$(DIST).tar.gz: FORCE
	@mkdir -p $(@D)
	@git diff --quiet HEAD || echo 'not in the tarball: what is not committed'
	$(Q)git archive --prefix=$(DIST)/ --add-virtual-file=$(DIST)/.commit:$$(git rev-parse --short HEAD) HEAD | gzip -9n > $@
	$(SAY) DIST $@

# for other machines than this one: the instructions of 2013 and later, more of them where a CPU has them
deb: ## a Debian package of this machine's release (dpkg-dev)
	@$(MAKE) --no-print-directory ARCH=x86-64-v3 CUDA=0 BUILD=$(BUILD)/deb deb-pack
deb-pack: tools completions
	@rm -rf $(BUILD)/root
	@$(MAKE) --no-print-directory -s install CUDA=0 DESTDIR=$(abspath $(BUILD))/root PREFIX=/usr
	$(Q).ci/deb $(BUILD)/root $(BUILD)/.. $(VERSION) $(COMMIT)
.PHONY: completions dist deb deb-pack

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
	@echo 'found: CUDA=$(CUDA) MPI=$(MPI) FFMPEG=$(FFMPEG) DNNL=$(DNNL)'
clean: ## remove objects and tools
	rm -rf $(BUILD)
-include $(shell find $(BUILD)/obj/$(CFG) -name '*.d' 2>/dev/null)
