/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_data.c - where samples come from, and mock data.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    { ROW("dataset.path", "data.dataloader.meta_folder data.dataloader.cache_dir", WAN_KEY_STR,
          data_path, "",
          "shard folder indexed by wan-index, shards as DIR/a-{000..127}.tar, a list of these with "
          "weights or repetitions, or the YAML file of an Energon metadataset"),
      .list = 1 },
    STR("dataset.split", 0, split, "train", "part of split.yaml to train on"),
    STR("dataset.empty_text", 0, empty_text, "",
        "safetensors file whose tensor text holds the encoded empty prompt (default: "
        "empty_text.safetensors in the shard folder; without one, and always in a DiT, a dropped "
        "caption is no rows, which the model sees as zeros)"),
    INT("dataset.seq_length", "dataset.task_encoder_seq_length", capacity, "1024", 1, MANY,
        "capacity of a pack in tokens; a longer sample raises it"),
    INT("dataset.packing_buffer_size", 0, window, "0", 0, MANY,
        "samples that packs are chosen from, at most a global batch (0: the whole batch)"),
    OWN("dataset.num_workers", "data.dataloader.num_workers", workers, "1", 0, 256,
        "0: read samples in the training thread, else in a thread ahead of it"),
    BOOL("dataset.shuffle", "data.dataloader.shuffle", shuffle, "true",
         "draw a new order of the samples each epoch, from rng.seed"),
    BOOL("dataset.draw_captions", 0, draw_captions, "true",
         "of several captions of a sample (wan-decode --captions all) draw one each time it is "
         "trained on, from rng.seed; else the first"),
    { ROW("dataset.mock", 0, WAN_KEY_BOOL, mock, "false",
          "random data of the shape below instead of a dataset, as --mock"),
      .class = WAN_KEY_PLACE },
    INT("dataset.F_latents", "data.dataloader.num_frame_latents", mock_t, "24", 1, 4096,
        "mock: latent frames"),
    INT("dataset.H_latents", "data.dataloader.spatial_h", mock_h, "104", 2, 4096,
        "mock: latent rows"),
    INT("dataset.W_latents", "data.dataloader.spatial_w", mock_w, "60", 2, 4096,
        "mock: latent columns"),
    INT("dataset.number_packed_samples", 0, mock_packed, "1", 1, 65536,
        "mock: raise dataset.seq_length to this many samples"),
    INT("dataset.context_seq_len", "data.dataloader.text_seq_len", mock_text, "512", 0, 65536,
        "mock: text rows"),
    INT("dataset.mock_samples", "data.dataloader.length", mock_samples, "1024", 1, MANY,
        "mock: length of an epoch"),
    BOOL("dataset.mock_vary", 0, mock_vary, "false",
         "mock: images and smaller videos among the videos, captions of different lengths"),

    ONLY("data.dataloader._target_",
         "*build_dataloader *build_mock_dataloader *build_wan21_dataloader "
         "*build_video_multiresolution_dataloader",
         "a loader of other data feeds another model"),
    ONLY("data.dataloader.dynamic_batch_size", "false",
         "a global batch counts samples, whatever their size"),
    NOTED("data.dataloader.num_channels", "the model's in_channels is used"),
    NOTED("data.dataloader.text_embed_dim", "the model's text_dim is used"),
    NOTED("data.dataloader.prefetch_factor", "the loader decides"),
    NOTED("data.dataloader.persistent_workers", "the loader decides"),
    ONLY("data.dataloader.train_text_encoder", "false", "captions are encoded by wan-encode"),
    NOTED("data.dataloader.pin_memory", "the loader decides"),
    REFUSED("data.dataloader.transform_text", "samples are taken as they are"),
    REFUSED("data.dataloader.transform_video", "samples are taken as they are"),
    NOTED("data.validation_dataloader.*", "validation uses the val split of dataset.path"),
    NOTED("dataset.context_embeddings_dim", "the model's text_dim is used"),
    NOTED("dataset.patch_temporal", "patches are 1x2x2"),
    NOTED("dataset.patch_spatial", "patches are 1x2x2"),
    NOTED("dataset.use_train_split_for_val", "validation uses the val split"),
    NOTED("dataset.dataloader_type", "there is one loader"),
    NOTED("dataset.pin_memory", "the loader decides"),
    NOTED("tokenizer.*", "captions are encoded by wan-encode"),
    NOTED("data.dataloader.device", "--device decides"),
    NOTED("data.dataloader.base_resolution", "packs mix resolutions"),
    NOTED("data.dataloader.drop_last", "every sample is used once an epoch"),
};
WAN_KEYS(wan_keys_data, keys, WAN_MODEL_ANY);
