# SPDX-License-Identifier: Apache-2.0
# Fuzz targets; included by tests/tests.mk.  Every tests/fuzz/fuzz_*.c holds LLVMFuzzerTestOneInput.
#
#     build/fuzz/fuzz_NAME       libFuzzer, AddressSanitizer, UBSan (clang)
#     build/fuzz/cover_NAME      the same with llvm-cov's counters and replay.c in place of the fuzzer
#     $(OBJ)/replay/NAME         the same with the ordinary compiler: what `make check` runs

FUZZCC ?= clang
FUZZ_NAMES := $(filter-out $(if $(filter 0,$(FFMPEG)),video),$(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c))))
FUZZ_SRC ?= $(filter-out lib/media/plot%,$(filter lib/base/% lib/rec/% lib/media/% lib/train/config/config% lib/train/config/keys% lib/train/config/modules.c \
	lib/model/text/tokenizer% lib/model/files/manifest.c,$(SRC)))
FUZZ_CFLAGS := -std=gnu11 -g -I. $(DEFS) -DWAN_COMMIT='"fuzz"' -DWAN_FLAGS='"fuzz"'
FUZZ_LIBS := $(PKG_LIBS) -lm -lpthread -ldl
# exit: fuzz_options.c; the others: replay.c
wrap = $(patsubst %,-Wl$(comma)--wrap=%,$(1))
comma := ,
REPLAY_WRAP := $(call wrap,malloc calloc realloc reallocarray strdup strndup)
fuzz_wrap = $(if $(findstring options,$@),$(call wrap,exit))

FUZZ_OBJ := $(FUZZ_SRC:%.c=$(OBJ)/fuzz/%.o)
FUZZ := $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%)
$(OBJ)/fuzz/%.o: %.c
	$(SAY) FUZZ $<
	@mkdir -p $(@D)
	$(Q)$(FUZZCC) $(FUZZ_CFLAGS) -O1 -D__SANITIZE_ADDRESS__ -fsanitize=address,undefined,fuzzer-no-link $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(FUZZ): $(BUILD)/fuzz/%: $(OBJ)/fuzz/tests/fuzz/%.o $(FUZZ_OBJ)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(FUZZCC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(fuzz_wrap) $(FUZZ_LIBS)
fuzz: $(FUZZ) ## build the fuzz targets into build/fuzz (clang): build/fuzz/fuzz_NAME CORPUS

COVER_OBJ := $(FUZZ_SRC:%.c=$(OBJ)/cover/%.o) $(OBJ)/cover/tests/fuzz/replay.o
COVER := $(FUZZ_NAMES:%=$(BUILD)/fuzz/cover_%)
$(OBJ)/cover/%.o: %.c
	$(SAY) COVER $<
	@mkdir -p $(@D)
	$(Q)$(FUZZCC) $(FUZZ_CFLAGS) -O1 -fprofile-instr-generate -fcoverage-mapping $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(COVER): $(BUILD)/fuzz/cover_%: $(OBJ)/cover/tests/fuzz/fuzz_%.o $(COVER_OBJ)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(FUZZCC) -fprofile-instr-generate -o $@ $^ $(fuzz_wrap) $(REPLAY_WRAP) $(FUZZ_LIBS)

# of the same files, so that one which needs another is noticed where nobody fuzzes
REPLAY := $(FUZZ_NAMES:%=$(OBJ)/replay/%)
$(REPLAY): $(OBJ)/replay/%: $(OBJ)/tests/fuzz/fuzz_%.o $(OBJ)/tests/fuzz/replay.o $(FUZZ_SRC:%.c=$(OBJ)/%.o)
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CXX) -o $@ $^ $(fuzz_wrap) $(REPLAY_WRAP) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
tests: $(REPLAY)

fuzz-coverage: $(COVER) tools ## lines of the parsers that seeds and corpora reach, by llvm-cov: at least 90 %
	@PATH=$(abspath $(BUILD)/bin):$$PATH BUILD=$(BUILD) FUZZ_DIR=$(FUZZ_DIR) tests/fuzz/coverage.sh
fuzz-long: fuzz tools ## each fuzz target for FUZZ_SECONDS=1800 of processor time, going on where it was (FUZZ_DIR=folder, K=name)
	@PATH=$(abspath $(BUILD)/bin):$$PATH BUILD=$(BUILD) FUZZ_DIR=$(FUZZ_DIR) tests/fuzz/run.sh $(or $(FUZZ_SECONDS),1800) $(K)
.PHONY: fuzz-coverage fuzz-long
-include $(shell find $(OBJ)/fuzz $(OBJ)/cover -name '*.d' 2>/dev/null)
