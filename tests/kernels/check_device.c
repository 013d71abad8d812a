/* SPDX-License-Identifier: Apache-2.0
 * Devices: names, memory accounting, scratch, packs, and the sentence when CUDA is missing. */
#include "kernels/ops.h"
#include "tests/tap.h"

static void refused(const char *spec, const char *part)
{
    wan_dev *d;
    int rc = wan_dev_open(&d, spec, 0);
    ok(rc < 0 && d == NULL && strstr(wan_err_text(), part), "\"%s\" is refused: %s", spec,
       wan_err_text());
}

static void memory(wan_dev *d)
{
    size_t before = d->allocated, free_bytes = 0, total = 0;
    char text[256], back[16] = { 0 };
    char *a = (char *)wan_dev_alloc(d, 1000, "a"), *b = (char *)wan_dev_alloc(d, 8 << 20, "b");
    ok(a && b && (uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0, "blocks are aligned");
    ok(d->allocated == before + 1000 + (8 << 20) && d->peak >= d->allocated, "bytes are counted");
    wan_dev_free(d, a);
    ok(d->allocated == before + (8 << 20), "freed bytes are taken off");
    ok(wan_dev_write(d, b, "fifteen letters", 16) == 0 && wan_dev_copy(d, b + 64, b, 16) == 0 &&
           wan_dev_zero(d, b, 16) == 0 && wan_dev_read(d, back, b + 64, 16) == 0 &&
           strcmp(back, "fifteen letters") == 0 && wan_dev_read(d, back, b, 16) == 0 && !back[0],
       "write, copy, zero, read");
    wan_dev_free(d, b);
    wan_dev_free(d, NULL);
    void *s = wan_dev_scratch(d, 5000);
    ok(s && wan_dev_scratch(d, 100) == s && d->scratch_bytes == 5000, "scratch grows only");
    ok(wan_dev_scratch(d, 9000) && d->scratch_bytes == 9000 && d->allocated == before + 9000,
       "grown scratch replaces the old");
#ifndef __SANITIZE_ADDRESS__ /* whose allocator ends the program instead */
    ok(!wan_dev_alloc(d, (size_t)1 << 60, "the moon") && strstr(wan_err_text(), "the moon"),
       "too much memory is an error that names the buffer");
#endif
    ok(d->backend->memory(d, &free_bytes, &total) == 0 && total >= free_bytes && free_bytes > 0 &&
           d->backend->describe(d, text, sizeof text) == 0 && *text,
       "the device describes itself: %s", text);
}

static void packs(wan_dev *d)
{
    static const int64_t len[3] = { 2, 1, 4 }, bad[2] = { 3, -1 }, huge[2] = { INT32_MAX, 1 };
    static const int32_t cu[4] = { 0, 2, 3, 7 }, seg[7] = { 0, 0, 1, 2, 2, 2, 2 };
    wan_pack p;
    ok(wan_pack_new(d, &p, len, 3) == 0 && p.n == 3 && p.S == 7 && p.max_len == 4, "pack sizes");
    ok(!memcmp(p.cu_host, cu, sizeof cu) && !memcmp(p.cu, cu, sizeof cu) &&
           !memcmp(p.seg, seg, sizeof seg),
       "pack offsets and samples of tokens");
    wan_pack_free(d, &p);
    ok(wan_pack_new(d, &p, bad, 2) < 0 && strstr(wan_err_text(), "sample 1 has -1 tokens"),
       "a negative length is refused");
    ok(wan_pack_new(d, &p, huge, 2) < 0 && strstr(wan_err_text(), "more than 2147483647"),
       "too many tokens are refused");
    ok(wan_pack_new(d, &p, len, 0) < 0, "no samples are refused");
}

int main(void)
{
    wan_dev *d = NULL;
    setenv("WAN_CUDA_PLUGIN", "/nonexistent/libwan-cuda.so", 1);
    refused("gpu", "auto, cpu, ref, cuda");
    refused("", "unknown");
    refused("cpu:x", "number");
    refused("cpu:1", "one CPU");
    refused("cuda:-1", "number");
    refused("cuda", "/nonexistent/libwan-cuda.so not found");
    setenv("WAN_CUDA_PLUGIN", "/proc/self/cmdline", 1);
    refused("cuda", "/proc/self/cmdline");
    ok(wan_dev_open(&d, "auto", 0) == 0 && d->kind == WAN_DEV_CPU, "auto falls back to the CPU");
    wan_dev_close(&d);
    ok(d == NULL, "closing clears the pointer");
    wan_dev_close(&d);
    ok(wan_dev_open(&d, "ref", 0) == 0, "ref opens");
    memory(d);
    packs(d);
    float one = 1;
    wan_buf b = { &one, WAN_BF16, &one };
    b = wan_buf_at(b, 3);
    ok((char *)b.p == (char *)&one + 6 && b.scale == &one && !WAN_RBUF(&one).scale,
       "an operand keeps its scale");
    void *all[sizeof(wan_ops) / sizeof(void *)];
    int filled = 1;
    memcpy(all, d->ops, sizeof all);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        filled &= all[i] != NULL;
    ok(filled, "every slot of the op table is filled");
    wan_dev_close(&d);
    return tap_done();
}
