/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_data.c - where samples come from, and mock data.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    STR("dataset.path", "data.dataloader.meta_folder data.dataloader.cache_dir", data_path, "",
        "shard folder indexed by wan-index"),
    STR("dataset.split", 0, split, "train", "part of split.yaml to train on"),
    STR("dataset.empty_text", 0, empty_text, "",
        "safetensors file whose tensor text holds the encoded empty prompt (default: "
        "empty_text.safetensors in the shard folder; without one a dropped caption is no rows, "
        "which the model sees as zeros)"),
    INT("dataset.seq_length", "dataset.task_encoder_seq_length", capacity, "1024", 1, MANY,
        "capacity of a pack in tokens; a longer sample raises it"),
    INT("dataset.packing_buffer_size", 0, window, "0", 0, MANY,
        "samples that packs are chosen from, at most a global batch (0: the whole batch)"),
    RUN("dataset.num_workers", "data.dataloader.num_workers", workers, "1", 0, 256,
        "0: read samples in the training thread, else in a thread ahead of it"),
    BOOL("dataset.shuffle", "data.dataloader.shuffle", shuffle, "true",
         "draw a new order of the samples each epoch, from rng.seed"),
    INT("dataset.F_latents", 0, mock_t, "24", 1, 4096, "mock: latent frames"),
    INT("dataset.H_latents", 0, mock_h, "104", 2, 4096, "mock: latent rows"),
    INT("dataset.W_latents", 0, mock_w, "60", 2, 4096, "mock: latent columns"),
    INT("dataset.number_packed_samples", 0, mock_packed, "1", 1, 65536,
        "mock: raise dataset.seq_length to this many samples"),
    INT("dataset.context_seq_len", 0, mock_text, "512", 0, 65536, "mock: text rows"),
    INT("dataset.mock_samples", 0, mock_samples, "1024", 1, MANY, "mock: length of an epoch"),
    BOOL("dataset.mock_vary", 0, mock_vary, "false",
         "mock: images and smaller videos among the videos, captions of different lengths"),

    NOTED("dataset.micro_batch_size", "a micro-batch is one pack"),
    NOTED("data.dataloader.batch_size", "a micro-batch is one pack"),
    NOTED("dataset.context_embeddings_dim", "the model's text_dim is used"),
    NOTED("dataset.patch_temporal", "patches are 1x2x2"),
    NOTED("dataset.patch_spatial", "patches are 1x2x2"),
    NOTED("dataset.use_train_split_for_val", "validation uses the val split"),
    NOTED("dataset.dataloader_type", "there is one loader"),
    NOTED("dataset.pin_memory", "the loader decides"),
    NOTED("tokenizer.*", "captions are encoded by wan-encode"),
    NOTED("data.dataloader._target_", "the data are indexed shards"),
    NOTED("data.dataloader.device", "--device decides"),
    NOTED("data.dataloader.base_resolution", "packs mix resolutions"),
    NOTED("data.dataloader.dynamic_batch_size", "packs are filled by tokens"),
    NOTED("data.dataloader.drop_last", "every sample is used once an epoch"),
};
WAN_KEYS(wan_keys_data, keys, WAN_MODEL_ANY);
