# SPDX-License-Identifier: Apache-2.0
# Nothing lost, nothing silent: wan-reliability(7); included by tests/tests.mk.  `make check` runs a part
# of every program in this folder; with FULL=1 each tries all that it can, and says how many points.

# at: stands between a tool and the kernel; trials: again and again; power: what a disk holds after a power
# cut; digest: of a folder
RELIABLE := $(patsubst %,$(OBJ)/tests/reliability/%,at trials power digest)
$(OBJ)/tests/reliability/at: $(OBJ)/tests/reliability/snap.o $(OBJ)/tests/reliability/tree.o
$(OBJ)/tests/reliability/digest $(OBJ)/tests/reliability/trials: $(OBJ)/tests/reliability/tree.o
$(RELIABLE): %: %.o
	$(SAY) LINK $@
	$(Q)$(CC) -o $@ $^ $(filter -fsanitize%,$(LDFLAGS_ALL))
# fault.so: fails a tool's allocations
FAULT := $(OBJ)/tests/reliability/fault.so
$(FAULT): tests/reliability/fault.c tests/reliability/serve.h
	$(SAY) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -fPIC -O1 -D_GNU_SOURCE -I. $(WARN) -Wno-missing-prototypes -Wno-pedantic -o $@ $< -ldl
tests: $(RELIABLE) $(FAULT)

RELIABILITY := kill
RELIABILITY += power
RELIABILITY += faults
RELIABILITY += fuzz
RELIABILITY += corrupt
RELIABILITY += limits
RELIABILITY += leaks
check-reliability: tools tests examples ## the whole campaign of wan-reliability(7), hours (K=name runs one)
	@FULL=1 FIGURES=1 PLAN=none LIMIT=$(or $(LIMIT),14400) BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) \
		EXAMPLES=$(abspath $(BUILD)/examples) MPI=$(MPI) tests/run $(patsubst %,tests/reliability/%.sh,$(or $(K),$(RELIABILITY)))
.PHONY: check-reliability

CORRUPT := $(OBJ)/tests/reliability/corrupt
$(CORRUPT): %: %.o $(LIB)
	$(SAY) LINK $@
	$(Q)$(CXX) -o $@ $< $(LIB) $(LDFLAGS_ALL) $(PKG_LIBS) $(LIBS) -lm -ldl -lpthread
tests: $(CORRUPT)

# what is done to a trainer's disk; libraries that stay
LIMITS := $(OBJ)/tests/reliability/limits.so $(OBJ)/tests/reliability/keep.so
$(LIMITS): %.so: %.o
	$(SAY) LINK $@
	$(Q)$(CC) -shared -o $@ $< $(filter -fsanitize%,$(LDFLAGS_ALL)) -ldl
tests: $(LIMITS)

soak: tools tests ## CLIPS through the whole pipe, STEPS with a checkpoint every 10, RESUMES of killed runs: hours
	@CLIPS=$(or $(CLIPS),100000) STEPS=$(or $(STEPS),20000) RESUMES=$(or $(RESUMES),200) FIGURES=1 PLAN=none LIMIT=$(or $(LIMIT),86400) \
		BIN=$(abspath $(BUILD)/bin) OBJ=$(abspath $(OBJ)) tests/run tests/reliability/soak.sh
.PHONY: soak

# where there is no memory, or a file cannot be looked at
$(OBJ)/tests/train/check_poor: LDFLAGS_ALL += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc reallocarray strdup strndup \
	stat lstat access realpath)
