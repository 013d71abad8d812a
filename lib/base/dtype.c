/* SPDX-License-Identifier: Apache-2.0
 *
 * dtype.c - names, sizes and conversion of element types.
 */
#include "lib/base/dtype.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[WAN_DTYPES] = {
    [WAN_F32] = { "F32", 4 },   [WAN_BF16] = { "BF16", 2 }, [WAN_F16] = { "F16", 2 },
    [WAN_F64] = { "F64", 8 },   [WAN_U8] = { "U8", 1 },     [WAN_I8] = { "I8", 1 },
    [WAN_BOOL] = { "BOOL", 1 }, [WAN_I16] = { "I16", 2 },   [WAN_U16] = { "U16", 2 },
    [WAN_I32] = { "I32", 4 },   [WAN_U32] = { "U32", 4 },   [WAN_I64] = { "I64", 8 },
    [WAN_U64] = { "U64", 8 },
};

size_t wan_dtype_size(wan_dtype t)
{
    return t < WAN_DTYPES ? dtypes[t].size : 0; /* blocks have no size of an element */
}

const char *wan_dtype_name(wan_dtype t)
{
    return t < WAN_DTYPES ? dtypes[t].name : "blocks";
}

int wan_dtype_parse(wan_dtype *out, const char *name)
{
    for (int t = 0; t < WAN_DTYPES; t++)
        if (!strcmp(dtypes[t].name, name)) {
            *out = (wan_dtype)t;
            return 0;
        }
    return wan_err("unknown element type \"%.32s\"", name);
}

int wan_shape_count(int64_t *count, const int64_t *shape, int rank)
{
    const int64_t cap = (int64_t)1 << 40;
    int64_t n = 1;
    int zero = 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return wan_err("negative dimension %lld", (long long)shape[i]);
        if (shape[i] == 0) {
            zero = 1;
            continue; /* the other dimensions are still checked */
        }
        if (n > cap / shape[i])
            return wan_err("tensor shape has more than 2^40 elements");
        n *= shape[i];
    }
    *count = zero ? 0 : n;
    return 0;
}

float wan_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 0x3ff, u;
    if (exp == 31)
        u = sign | 0x7f800000u | man << 13;
    else if (exp)
        u = sign | (exp + 112) << 23 | man << 13;
    else { /* subnormal half: man * 2^-24, exact in float */
        float f = (float)man * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint16_t wan_f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    if (u >= 0x477ff000u) /* rounds to 65536 or more */
        return sign | 0x7c00;
    if (u < 0x38800000u) { /* subnormal: adding 0.5 aligns and rounds to 2^-24 steps */
        float a;
        memcpy(&a, &u, 4);
        a += 0.5f;
        memcpy(&u, &a, 4);
        return (uint16_t)(sign | (u - 0x3f000000u));
    }
    u += 0xfffu + (u >> 13 & 1);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

/* Every pair goes through float or double in blocks that stay in the first-level cache. */
enum { BLOCK = 512 };

static int load_block(double *d, float *f, int wide, const void *src, wan_dtype t, size_t at,
                      size_t n)
{
    const uint16_t *h = (const uint16_t *)src + at;
    switch (t) {
    case WAN_F32: memcpy(f, (const float *)src + at, n * 4); break;
    case WAN_BF16:
        for (size_t i = 0; i < n; i++)
            f[i] = wan_bf16_to_f32(h[i]);
        break;
    case WAN_F16:
        for (size_t i = 0; i < n; i++)
            f[i] = wan_f16_to_f32(h[i]);
        break;
    case WAN_F64:
        memcpy(d, (const double *)src + at, n * 8);
        if (!wide)
            for (size_t i = 0; i < n; i++)
                f[i] = (float)d[i];
        return 0;
    default: return -1;
    }
    if (wide)
        for (size_t i = 0; i < n; i++)
            d[i] = f[i];
    return 0;
}

static int store_block(void *dst, wan_dtype t, size_t at, const double *d, const float *f, size_t n)
{
    uint16_t *h = (uint16_t *)dst + at;
    switch (t) {
    case WAN_F32: memcpy((float *)dst + at, f, n * 4); break;
    case WAN_BF16:
        for (size_t i = 0; i < n; i++)
            h[i] = wan_f32_to_bf16(f[i]);
        break;
    case WAN_F16:
        for (size_t i = 0; i < n; i++)
            h[i] = wan_f32_to_f16(f[i]);
        break;
    case WAN_F64: memcpy((double *)dst + at, d, n * 8); break;
    default: return -1;
    }
    return 0;
}

static int is_float(wan_dtype t)
{
    return t == WAN_F32 || t == WAN_BF16 || t == WAN_F16 || t == WAN_F64;
}

int wan_convert(void *dst, wan_dtype dt, const void *src, wan_dtype st, size_t n)
{
    if (!is_float(dt) || !is_float(st))
        return wan_err("cannot convert %s to %s: not floating point", wan_dtype_name(st),
                       wan_dtype_name(dt));
    if (dt == st) {
        if (dst != src)
            memmove(dst, src, n * wan_dtype_size(dt));
        return 0;
    }
    double d[BLOCK];
    float f[BLOCK];
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t m = n - at < BLOCK ? n - at : BLOCK;
        if (load_block(d, f, dt == WAN_F64, src, st, at, m) < 0 ||
            store_block(dst, dt, at, d, f, m) < 0)
            return wan_err("cannot convert %s to %s", wan_dtype_name(st), wan_dtype_name(dt));
    }
    return 0;
}
