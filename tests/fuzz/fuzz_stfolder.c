/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_stfolder.c - a model's folder of two safetensors files and their index: the index (first byte 0 or 3),
 * or one of the files, is any bytes; and a record kept as a safetensors file.
 */
#include "lib/rec/tensor/record_st.h"
#include "tests/fuzz/fuzz.h"

static const char *const name[] = { "model.safetensors.index.json",
                                    "model-00001-of-00002.safetensors",
                                    "model-00002-of-00002.safetensors" };

static void whole(int which)
{
    static const char index[] =
        "{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\","
        "\"b\":\"model-00002-of-00002.safetensors\"}}";
    char head[160];
    int n = snprintf(head + 8, sizeof head - 8,
                     "{\"%c\":{\"dtype\":\"%s\",\"shape\":[%d,2],\"data_offsets\":[0,%d]}}",
                     which == 1 ? 'a' : 'b', which == 1 ? "F32" : "BF16", 1, which == 1 ? 8 : 4);
    memcpy(head, &(uint64_t){ (uint64_t)n }, 8);
    memset(head + 8 + n, 0, 8);
    if (which)
        fuzz_put(name[which], head, 8 + (size_t)n + (which == 1 ? 8 : 4));
    else
        fuzz_put(name[0], index, sizeof index - 1);
}

static void use(const char *path)
{
    wan_st *st;
    wan_record r = WAN_RECORD_INIT;
    json_t *header = NULL;
    if (wan_st_open(&st, path) < 0)
        return;
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        float *f = t->count < 1 << 20 ? malloc((size_t)t->count * 4 + 1) : NULL;
        if (f && wan_st_load(st, t->name, t->shape, t->rank, f, WAN_F32) == 0)
            wan_st_release(st, t);
        free(f);
    }
    (void)!wan_st_load(st, "a", (int64_t[]){ 1, 2 }, 2, NULL, WAN_BF16);
    (void)!wan_st_load(st, "c", NULL, 0, NULL, WAN_F32);
    const char *unused;
    (void)wan_st_unused(st, &unused);
    if (wan_record_st_read(&r, st, path, NULL) == 0 && wan_record_st_header(&header, st, path) == 0)
        (void)!wan_record_st_write("/dev/null", &r, header);
    wan_record_clear(&r);
    json_decref(header);
    wan_st_close(&st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[512];
    if (fuzz_begin())
        for (int i = 0; i < 3; i++)
            whole(i);
    if (!n)
        return 0;
    int which = data[0] % 3;
    fuzz_put(name[which], data + 1, n - 1);
    use(fuzz_dir);
    snprintf(path, sizeof path, "%s", fuzz_path(name[which]));
    use(path);
    whole(which);
    return 0;
}
