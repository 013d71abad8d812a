# SPDX-License-Identifier: Apache-2.0
# A dataset as a Makefile: one folder of shards for each folder of clips, in parallel, made again only
# where clips changed.  What could not be used is in OUT/NAME/report.json, one line per clip.
#
#     make -f dataset.mk -j4 CLIPS=clips MODEL=Wan2.1-T2V-1.3B-Diffusers OUT=shards
#     make -f dataset.mk part N=3 ...        only the third folder (prepare.sbatch)
CLIPS ?= clips
MODEL ?= model
OUT ?= shards
DECODE ?= --height 480 --width 832 --center-crop --fps 16
ENCODE ?=
SPLIT ?= 8,1,1
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.SECONDEXPANSION:

parts := $(patsubst $(CLIPS)/%/,%,$(sort $(wildcard $(CLIPS)/*/)))
$(if $(parts),,$(error $(CLIPS) holds no folders of clips))

$(OUT)/.nv-meta/.info.json: $(parts:%=$(OUT)/%/report.json)
	wan-index --split-ratio $(SPLIT) $(OUT)

part: $(if $(N),$(or $(word $(N),$(parts:%=$(OUT)/%/report.json)),$(error $(CLIPS) has no folder number $(N))))
.PHONY: part

# the report gets its name last, so that it stands for whole shards
$(OUT)/%/report.json: $$(wildcard $(CLIPS)/%/*)
	mkdir -p $(@D)
	wan-decode $(DECODE) --key-prefix $*/ --report $@.new $(CLIPS)/$* | \
	    wan-encode --model $(MODEL) $(ENCODE) | wan-shard --force -o $(@D)
	mv $@.new $@
