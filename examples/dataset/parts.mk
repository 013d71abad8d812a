# SPDX-License-Identifier: Apache-2.0
# parts.mk - what Makefile does, in the folder OUT; the tools run where make was called, $BASE.
parts := $(shell seq -f %05.0f 1 $(PARTS))

report.html: .nv-meta/.info.json
	cd "$$BASE" && wan-index --stat "$$OUT" >"$$OUT/stat.tsv"
	cd "$$BASE" && "$$HERE/report.sh" "$$OUT" >"$$OUT/report.html.new" && mv "$$OUT/report.html.new" "$$OUT/report.html"
	@echo "$$OUT/report.html: $$(sed -n 's/.*<p id="sum">\(.*\)<\/p>.*/\1/p' $@)"
.DELETE_ON_ERROR:
.SECONDARY:

.nv-meta/.info.json: $(parts:%=%/done) split
	@for d in [0-9][0-9][0-9][0-9][0-9]/; do \
	    case " $(parts) " in *" $${d%/} "*) ;; *) [ ! -e "$$d/inputs.tsv" ] || rm -r "$$d" ;; esac; done
	@ls [0-9]*/*.tar >/dev/null 2>&1 || { echo "$$OUT: no clip of $$CLIPS gave a sample; why is in */rejects.tsv and */log" >&2; exit 1; }
	cd "$$BASE" && wan-index --split-ratio "$$SPLIT" "$$OUT"

# what something is made from; its time changes only when it does
keep = @if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
split: FORCE
	@printf '%s\n' "$$SPLIT" >$@.new
	$(keep)
%/inputs.tsv: FORCE
	@mkdir -p $(@D)
	@{ (cd "$$BASE" && wan-decode $$DECODE --part $*/$(PARTS) --inputs "$$CLIPS") && \
	    printf '%s\n' "$$DECODE | $$MODEL $$ENCODE | $$SHARD"; } >$@.new
	$(keep)
FORCE:
.PHONY: FORCE

%/done: %/inputs.tsv
	cd "$$BASE" && PART=$*/$(PARTS) "$$HERE/part.sh" "$$OUT/$(@D)"
	touch $@
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
