/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_sqlite.c - caches of other trainers: metadata.db of the latents or the texts (the first byte
 * says which), or a shard of them, or a file of musubi-tuner's, is any bytes.
 */
#include <sys/stat.h>

#include "lib/rec/shard/cachefile.h"
#include "tests/fuzz/fuzz.h"

#define FROM "tests/data/cache/dpipe/cache/wan/cache_1.000x16x16x9/"
#define CLIP "tests/data/cache/musubi/sub/clip"

enum { FILES = 8 };
static const char *const name[FILES] = { "b/latents/metadata.db",
                                         "b/text_embeddings_1/metadata.db",
                                         "b/latents/shard_0.bin",
                                         "b/latents/shard_1.bin",
                                         "b/text_embeddings_1/shard_0.bin",
                                         "b/text_embeddings_1/shard_1.bin",
                                         "clip_00001-009_0016x0016_wan.safetensors",
                                         "clip_wan_te.safetensors" };
static const char *const from[FILES] = {
    FROM "latents/metadata.db",
    FROM "text_embeddings_1/metadata.db",
    FROM "latents/shard_0.bin",
    FROM "latents/shard_1.bin",
    FROM "text_embeddings_1/shard_0.bin",
    FROM "text_embeddings_1/shard_1.bin",
    CLIP "_00001-009_0016x0016_wan.safetensors",
    CLIP "_wan_te.safetensors",
};

static int take(void *n, const wan_record *r)
{
    if (!r->key || !r->meta || !wan_record_find(r, "latent"))
        abort();
    ++*(int *)n;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint64_t without;
    int records = 0;
    if (fuzz_begin()) {
        if (mkdir(fuzz_path("b"), 0700) || mkdir(fuzz_path("b/latents"), 0700) ||
            mkdir(fuzz_path("b/text_embeddings_1"), 0700))
            abort();
        for (int i = 0; i < FILES; i++)
            fuzz_copy(name[i], from[i]);
    }
    if (!n)
        return 0;
    int which = data[0] % FILES;
    fuzz_put(name[which], data + 1, n - 1);
    if (wan_cachefile_each(fuzz_dir, take, &records, &without) == 0 && !records)
        fuzz_broken();
    fuzz_copy(name[which], from[which]);
    return 0;
}
