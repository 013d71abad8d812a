/* SPDX-License-Identifier: Apache-2.0
 * Embeddings and patches: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, exact = 0;

static void modulation(int64_t n, int64_t R, int64_t D, int64_t rows)
{
    vec *table = vec_new(WAN_REAL, (size_t)(R * D), 0, 1);
    vec *e = vec_new(WAN_REAL, (size_t)(n * rows * D), 0, 1);
    vec *out = vec_new(WAN_REAL, (size_t)(n * R * D), 7, 1);
    CMP_BOTH(modulation_forward(d, vec_p(out, i), vec_p(table, i), vec_p(e, i), n, R, D, rows));
    vec_ok(out, exact, "modulation n=%lld R=%lld D=%lld rows %lld", (long long)n, (long long)R,
           (long long)D, (long long)rows);
    CMP_BOTH(modulation_backward(d, vec_p(table, i), vec_p(e, i), vec_p(out, i), n, R, D, rows));
    vec_ok(table, bound_f32, "  dtable");
    vec_ok(e, bound_f32, "  de");
    cmp_reset();
}

static void sinusoid(int64_t n, int64_t dim)
{
    float t[64];
    for (int i = 0; i < 64; i++)
        t[i] = 1000.0f * (float)(i % 7) / 6.5f;
    vec *x = vec_of(WAN_REAL, (size_t)n, t), *y = vec_new(WAN_REAL, (size_t)(n * dim), 7, 1);
    CMP_BOTH(sinusoid(d, vec_p(y, i), vec_p(x, i), n, dim));
    vec_ok(y, bound_f32, "sinusoid n=%lld dim=%lld", (long long)n, (long long)dim);
    cmp_reset();
}

static void gather_add(int64_t S, int64_t V, int64_t D)
{
    int32_t id[128];
    for (int i = 0; i < 128; i++)
        id[i] = (int32_t)((i * 37 + 5) % V);
    vec *table = vec_new(WAN_REAL, (size_t)(V * D), 0, 1);
    vec *y = vec_new(WAN_REAL, (size_t)(S * D), 0, 1), *ids = vec_of(WAN_I32, (size_t)S, id);
    CMP_BOTH(gather_add(d, vec_p(y, i), vec_p(table, i), (const int32_t *)ids->b[i].p, S, D));
    vec_ok(y, exact, "gather_add S=%lld V=%lld D=%lld", (long long)S, (long long)V, (long long)D);
    cmp_reset();
}

static void patches(int64_t C, int64_t T, int64_t h, int64_t w, wan_dtype t, int order)
{
    size_t N = (size_t)(C * T * h * w);
    vec *lat = vec_new(WAN_REAL, N, 0, 1), *rows = vec_new(t, N, 7, 1);
    CMP_BOTH(patchify(d, rows->b[i], vec_p(lat, i), C, T, h, w, (enum wan_patch_order)order));
    vec_ok(rows, exact, "patchify %lldx%lldx%lldx%lld %s order %d", (long long)C, (long long)T,
           (long long)h, (long long)w, CMP_NAME(t), order);
    CMP_BOTH(unpatchify(d, vec_p(lat, i), rows->b[i], C, T, h, w, (enum wan_patch_order)order));
    vec_ok(lat, exact, "  unpatchify");
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("embed"))
        return tap_done();
    modulation(3, 6, 65, 6);
    modulation(2, 2, 1536, 1);
    modulation(1, 1, 1, 1);
    gather_add(1, 3, 1);
    gather_add(65, 300, 63);
    gather_add(128, 17, 144);
    sinusoid(1, 2);
    sinusoid(5, 256);
    for (int k = 0; k < 4; k++) {
        patches(16, 3, 6, 10, cmp_types[k % 2], k / 2);
        patches(1, 1, 2, 2, cmp_types[k % 2], k / 2);
        patches(36, 2, 34, 18, cmp_types[k % 2], k / 2);
    }
    return cmp_done();
}
