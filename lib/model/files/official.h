/* SPDX-License-Identifier: Apache-2.0
 *
 * official.h - VAE and text encoder in one file as HuggingFace folders: those of the official repository
 * (torch), and ComfyUI's (.safetensors; official names of the VAE, HuggingFace's of the text encoder).
 * Names: wan-model(7), VAE names and UMT5 names.
 */
#ifndef WAN_MODEL_OFFICIAL_H
#define WAN_MODEL_OFFICIAL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define WAN_OFFICIAL_VAE "Wan2.1_VAE.pth"
#define WAN_OFFICIAL_UMT5 "models_t5_umt5-xxl-enc-bf16.pth"
#define WAN_OFFICIAL_TOKENIZER "google/umt5-xxl"

/* HuggingFace name of an official tensor; -1 (no error recorded) when there is no such tensor. */
int wan_official_vae_name(char *hf, size_t size, const char *official);
int wan_official_umt5_name(char *hf, size_t size, const char *official);

/* ComfyUI's text encoder brings its tokenizer as this tensor, U8 [bytes of spiece.model]. */
#define WAN_OFFICIAL_SPIECE "spiece_model"

enum wan_official_part { WAN_PART_VAE, WAN_PART_UMT5, WAN_PART_TRANSFORMER };
/* What a file of weights is, by the names of its tensors. */
int wan_official_kind(enum wan_official_part *part, const char *path) WAN_MUST_CHECK;
/* Writes DIR/spiece.model from it: 1, or 0 where the file has none. */
int wan_official_spiece(const char *path, const char *dir) WAN_MUST_CHECK;

/* Writes DIR/config.json and weights, element types kept; a tensor that is no part of the model is
 * an error.  What is missing is found by whoever opens DIR. */
int wan_official_vae(const char *path, const char *dir, int64_t max_shard) WAN_MUST_CHECK;
int wan_official_umt5(const char *path, const char *dir, int64_t max_shard) WAN_MUST_CHECK;
/* DIR/scheduler and DIR/model_index.json as published, which the official repository lacks. */
int wan_official_index(const char *dir) WAN_MUST_CHECK;

#endif
