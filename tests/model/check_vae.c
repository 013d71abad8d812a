/* SPDX-License-Identifier: Apache-2.0
 *
 * check_vae.c - the video VAE against diffusers' AutoencoderKLWan (every vae_* of WAN_REF).
 *
 * Bounds: 1e-5 relative L2 in float (the dumps themselves are within 2e-6 of double); 3e-2 with
 * bf16 convolution operands, which is about what rounding every operand to 8 bits costs; an eighth of that
 * with fp16, which has three bits more.
 * The large cases run on the fast device alone.  Decoding in bands of rows must give the same bytes.
 * Of 64 channels and more Winograd's algorithm convolves: a model of random weights against plain C.
 */
#include "tests/refs.h"
#include "tests/tap.h"

#include "kernels/ops.h"
#include "lib/base/json.h"
#include "lib/base/rng.h"
#include "lib/model/vae/vae_net.h"
#include "lib/rec/tensor/safetensors.h"

#define F32_BOUND 1e-5
#define BF16_BOUND 3e-2
#define F16_BOUND (BF16_BOUND / 8)
#define SCALE_BOUND 4e-3 /* as a whole, where single roundings do not count */

static void *load(wan_st *st, const char *what, int t, wan_dtype dt, int64_t *shape)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%d", what, t);
    wan_st_tensor *e = wan_st_find(st, name);
    if (!e) {
        ok(0, "%s is in the dump", name);
        exit(1);
    }
    memcpy(shape, e->shape, sizeof e->shape);
    void *p = malloc(e->bytes);
    if (dt == WAN_U8)
        memcpy(p, e->data, e->bytes);
    else if (wan_st_load(st, name, e->shape, e->rank, p, dt) < 0)
        exit(1);
    return p;
}

typedef struct video {
    float *v; /* [3, T, H, W] as the dump has it */
    int64_t T, H, W, t;
    int off; /* worst difference of u8 from trunc((v+1)/2*255) */
} video;

static int keep(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H, int64_t W)
{
    video *o = arg;
    for (int64_t i = 0; i < n * H * W; i++)
        for (int c = 0; c < 3; c++) {
            float v = pixels[i * 3 + c];
            int u = (int)((v + 1) / 2 * 255), e = abs(u - rgb[i * 3 + c]);
            o->off = e > o->off ? e : o->off;
            o->v[(c * o->T + o->t) * H * W + i] = v;
        }
    o->t += n;
    return 0;
}

static int refuse(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                  int64_t W)
{
    (void)arg, (void)rgb, (void)pixels, (void)n, (void)H, (void)W;
    return wan_err("enough");
}

/* The sample that is drawn from mean and log variance. */
static void check_sample(wan_vae *v, const uint8_t *rgb, const int64_t *s, const float *mu,
                         const float *logvar, int64_t n, const char *who)
{
    float *got = malloc((size_t)n * 4), *want = malloc((size_t)n * 4), *e = malloc((size_t)n * 4);
    wan_rng r = wan_rng_stream(77, WAN_RNG_LATENT, 0, 0);
    int64_t per = n / v->c.z_dim;
    wan_rng_normal(&r, e, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        want[i] = (float)((mu[i] + sqrt(exp((double)logvar[i])) * e[i] - v->c.mean[i / per]) /
                          v->c.std[i / per]);
    int rc = wan_vae_encode_sample(v, got, rgb, s[0], s[1], s[2], 77);
    ok_err(rc < 0 ? INFINITY : rel_l2(got, want, (size_t)n), 2e-6, "%s: a sample of %d frames", who,
           (int)s[0]);
    free(got), free(want), free(e);
}

static void check_encode(wan_vae *v, wan_st *in, wan_st *out, int T, double bound, const char *who)
{
    int64_t s[16], l[16];
    uint8_t *rgb = load(in, "frames", T, WAN_U8, s);
    float *want = load(out, "latent", T, WAN_F32, l), *mu = load(out, "mu", T, WAN_F32, l);
    int64_t n = l[0] * l[1] * l[2] * l[3], px = s[0] * s[1] * s[2] * s[3];
    float *got = malloc((size_t)n * 4), *again = malloc((size_t)n * 4);
    float *pixels = malloc((size_t)px * 4), *logvar = malloc((size_t)n * 4);
    int chunks[] = { 4, 1, 8, 12, 64 }, n_chunks = strstr(who, " ref ") ? 2 : 5;
    for (int i = 0; i < n_chunks; i++) {
        float *to = i ? again : got;
        if (!ok(wan_vae_encode(v, to, rgb, s[0], s[1], s[2], chunks[i]) == 0,
                "%s: encode %d frames, chunk %d", who, T, chunks[i]))
            return;
        if (i)
            ok_err(rel_l2(again, got, (size_t)n), bound > 1e-4 ? 1e-2 : 1e-6,
                   "%s: %d frames, chunk %d equals chunk 4", who, T, chunks[i]);
        if (T == 1)
            break;
    }
    ok_err(rel_l2(got, want, (size_t)n), bound, "%s: latent of %d frames", who, T);
    if (bound > 1e-3)
        ok_err(rel_scale(got, want, (size_t)n), SCALE_BOUND, "%s: its size", who);
    for (int64_t i = 0; i < px; i++)
        pixels[i] = (float)rgb[i] / 255 * 2 - 1;
    int rc = wan_vae_encode_raw(v, got, logvar, pixels, s[0], s[1], s[2]);
    ok_err(rc < 0 ? INFINITY : rel_l2(got, mu, (size_t)n), bound, "%s: mean of %d frames", who, T);
    if (bound < 1e-4)
        check_sample(v, rgb, s, got, logvar, n, who);
    free(rgb), free(want), free(mu), free(got), free(again), free(pixels), free(logvar);
}

static void check_decode(wan_vae *v, wan_st *in, wan_st *out, int T, double bound, const char *who)
{
    int64_t z[16], s[16];
    float *latent = load(in, "z", T, WAN_F32, z), *want = load(out, "video", T, WAN_F32, s);
    size_t n = (size_t)(s[0] * s[1] * s[2] * s[3]);
    video o = { calloc(n, sizeof(float)), s[1], s[2], s[3], 0, 0 };
    ok(wan_vae_decode(v, latent, z[1], z[2], z[3], keep, &o) == 0, "%s: decode %d frames", who, T);
    ok(o.t == T, "%s: %d frames come out (%d)", who, T, (int)o.t);
    ok_err(rel_l2(o.v, want, n), bound, "%s: video of %d frames", who, T);
    if (bound > 1e-3)
        ok_err(rel_scale(o.v, want, n), SCALE_BOUND, "%s: its size", who);
    ok(o.off == 0, "%s: u8 frames are the truncated pixels", who);
    ok(wan_vae_decode(v, latent, z[1], z[2], z[3], refuse, NULL) < 0 &&
           !strcmp(wan_err_text(), "enough"),
       "%s: the receiver can stop", who);
    free(latent), free(want), free(o.v);
}

/* Every length in case.json, the longest in the middle so that buffers change size both ways. */
static void check_lengths(wan_vae *v, const char *dir, double bound, const char *who)
{
    char path[512];
    wan_st *in, *out;
    snprintf(path, sizeof path, "%s/in.safetensors", dir);
    int rc = wan_st_open(&in, path);
    snprintf(path, sizeof path, "%s/out.safetensors", dir);
    rc |= wan_st_open(&out, path);
    snprintf(path, sizeof path, "%s/case.json", dir);
    json_t *j = rc ? NULL : wan_json_load(path);
    const json_t *frames = json_object_get(j, "frames");
    size_t n = json_array_size(frames);
    if (!ok(n > 0, "%s: the dump is read", who))
        exit(1);
    for (size_t i = 0; i < n; i++) {
        int T = (int)json_integer_value(json_array_get(frames, i * (n - 1) % n));
        check_encode(v, in, out, T, bound, who);
        check_decode(v, in, out, T, bound, who);
    }
    json_decref(j);
    wan_st_close(&in);
    wan_st_close(&out);
}

static void check_model(const char *dir, const char *dev, wan_dtype compute, double bound)
{
    char path[640], who[64];
    wan_dev *d;
    wan_vae *v;
    snprintf(who, sizeof who, "%.30s %s %s", refs_name(dir), dev, wan_dtype_name(compute));
    snprintf(path, sizeof path, "%s/vae", dir);
    if (!ok(wan_dev_open(&d, dev, 0) == 0, "%s: device", who) ||
        !ok(wan_vae_open(&v, d, path, WAN_VAE_ENCODER | WAN_VAE_DECODER, compute) == 0,
            "%s: every tensor is used", who))
        return;
    check_lengths(v, dir, bound, who);
    wan_vae_close(&v);
    ok(d->allocated == d->scratch_bytes + d->aside_bytes, "%s: all memory given back", who);
    wan_dev_close(&d);
}

/* ---- bands of rows */

#define BAND_T 2 /* latent frames, of 40x2 */
#define BAND_PX ((4 * BAND_T - 3) * 320 * 16 * 3)

typedef struct band_clip {
    uint8_t rgb[BAND_PX];
    int64_t n;
    int pixels;
} band_clip;

static int keep_bytes(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    band_clip *c = arg;
    if (c->n + n * H * W * 3 > BAND_PX)
        return wan_err("too many frames");
    memcpy(c->rgb + c->n, rgb, (size_t)(n * H * W * 3));
    c->n += n * H * W * 3;
    c->pixels |= pixels != NULL;
    return 0;
}

/* 320 rows whole, then in as many bands as a budget of one byte asks for, which are of 64 rows. */
static void check_bands(const char *dir, const char *dev, wan_dtype compute)
{
    static float z[16 * BAND_T * 40 * 2];
    static band_clip whole, cut;
    wan_dev *d;
    wan_vae *v;
    for (size_t i = 0; i < sizeof z / sizeof *z; i++)
        z[i] = (float)((i * 2654435761u >> 8) % 4001) / 1000 - 2;
    whole.n = cut.n = cut.pixels = 0;
    if (!ok(wan_dev_open(&d, dev, 0) == 0 &&
                wan_vae_open(&v, d, dir, WAN_VAE_DECODER, compute) == 0,
            "%s: decoder", dir))
        return;
    int64_t budget = v->dec.budget;
    ok(d->kind == WAN_DEV_CPU ? budget > 0 : budget == 0, "%s: bands on the CPU alone", dev);
    v->dec.budget = 0;
    ok(wan_vae_decode(v, z, BAND_T, 40, 2, keep_bytes, &whole) == 0 && v->dec.bands == 1 &&
           whole.n == BAND_PX && whole.pixels,
       "%s %s: whole frames", dev, wan_dtype_name(compute));
    int rc = wan_vae_decode(v, z, 1, 2, 2, keep_bytes, &cut); /* another size in between */
    cut.n = cut.pixels = 0;
    v->dec.budget = 0;
    v->dec.budget = wan_vae_decode_bytes(v, 40, 2); /* two beyond a third of it */
    rc |= wan_vae_decode(v, z, BAND_T, 40, 2, keep_bytes, &cut);
    ok(rc == 0 && v->dec.bands == 2 && !memcmp(whole.rgb, cut.rgb, BAND_PX),
       "%s %s: in two bands the same bytes", dev, wan_dtype_name(compute));
    cut.n = 0;
    rc |= wan_vae_decode(v, z, 1, 2, 2, keep_bytes, &cut); /* so that bands are chosen anew */
    cut.n = cut.pixels = 0;
    v->dec.budget = 1;
    rc |= wan_vae_decode(v, z, BAND_T, 40, 2, keep_bytes, &cut);
    ok(rc == 0 && v->dec.bands == 5 && cut.n == BAND_PX && !cut.pixels, "%s %s: %d bands", dev,
       wan_dtype_name(compute), v->dec.bands);
    ok(!memcmp(whole.rgb, cut.rgb, BAND_PX), "%s %s: bands make the same bytes", dev,
       wan_dtype_name(compute));
    wan_vae_close(&v);
    ok(d->allocated == d->scratch_bytes + d->aside_bytes, "%s: all memory given back", dev);
    wan_dev_close(&d);
}

/* ---- many channels */

#define WIDE_T 5
#define WIDE_H 16
#define WIDE_W 24
#define WIDE_Z (16 * 2 * WIDE_H / 8 * WIDE_W / 8)

typedef struct wide {
    float z[WIDE_Z], pixels[WIDE_T * WIDE_H * WIDE_W * 3];
    int64_t n;
} wide;

static int keep_pixels(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                       int64_t W)
{
    wide *o = arg;
    (void)rgb;
    memcpy(o->pixels + o->n, pixels, (size_t)(n * H * W * 3) * sizeof *pixels);
    o->n += n * H * W * 3;
    return 0;
}

static void run_wide(wide *o, const char *dir, const char *dev, wan_dtype compute, int chunk)
{
    static uint8_t rgb[WIDE_T * WIDE_H * WIDE_W * 3];
    static float z[WIDE_Z];
    wan_dev *d;
    wan_vae *v;
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i / 31 + (i * 2654435761u >> 26));
    for (size_t i = 0; i < WIDE_Z; i++)
        z[i] = (float)((i * 2654435761u >> 8) % 4001) / 1000 - 2;
    o->n = 0;
    int parts = WAN_VAE_ENCODER | WAN_VAE_DECODER;
    int rc = wan_dev_open(&d, dev, 0) < 0 || wan_vae_open(&v, d, dir, parts, compute) < 0 ||
             wan_vae_encode(v, o->z, rgb, WIDE_T, WIDE_H, WIDE_W, chunk) < 0 ||
             wan_vae_decode(v, z, 2, WIDE_H / 8, WIDE_W / 8, keep_pixels, o) < 0;
    if (!ok(!rc, "wide %s %s, chunk %d", dev, wan_dtype_name(compute), chunk))
        exit(1);
    wan_vae_close(&v);
    wan_dev_close(&d);
}

static void check_wide(void)
{
    static wide plain, fast, half, pieces;
    char dir[] = "/tmp/wan-check-vae.XXXXXX", cmd[256];
    if (!getenv("BIN")) {
        tap_skip("many channels", "BIN does not name the folder of the tools");
        return;
    }
    if (!mkdtemp(dir))
        exit(1);
    snprintf(cmd, sizeof cmd, "$BIN/../bench/make_model vae %s 64 2 >&2", dir);
    if (!ok(system(cmd) == 0, "wide: a model of 64 and 128 channels"))
        exit(1);
    run_wide(&plain, dir, "ref", WAN_F32, 0);
    run_wide(&fast, dir, "cpu", WAN_F32, 0);
    run_wide(&pieces, dir, "cpu", WAN_F32, 1);
    run_wide(&half, dir, "cpu", WAN_BF16, 0);
    ok_err(rel_l2(fast.z, plain.z, WIDE_Z), F32_BOUND, "wide: latents against plain C");
    ok_err(rel_l2(fast.pixels, plain.pixels, (size_t)plain.n), F32_BOUND, "wide: video");
    ok(!memcmp(fast.z, pieces.z, sizeof fast.z), "wide: the same bytes in pieces");
    ok_err(rel_l2(half.z, plain.z, WIDE_Z), BF16_BOUND, "wide: latents in bf16");
    ok_err(rel_l2(half.pixels, plain.pixels, (size_t)plain.n), BF16_BOUND, "wide: video in bf16");
    ok_err(rel_scale(half.z, plain.z, WIDE_Z), SCALE_BOUND, "  their size");
    ok_err(rel_scale(half.pixels, plain.pixels, (size_t)plain.n), SCALE_BOUND, "  its size");
    ok(rel_l2(half.z, plain.z, WIDE_Z) > 1e-5, "  which is bf16");
    run_wide(&half, dir, "cpu", WAN_F16, 0);
    ok_err(rel_l2(half.z, plain.z, WIDE_Z), F16_BOUND, "wide: latents in fp16");
    ok_err(rel_l2(half.pixels, plain.pixels, (size_t)plain.n), F16_BOUND, "wide: video in fp16");
    ok(rel_l2(half.z, plain.z, WIDE_Z) > 1e-5, "  which is fp16");
    check_bands(dir, "cpu", WAN_F32);
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    ok(system(cmd) == 0, "wide: the model is removed");
}

static void check_refusals(void)
{
    wan_dev *d;
    wan_vae *v;
    uint8_t rgb[3] = { 0 };
    float z[1] = { 0 };
    if (wan_dev_open(&d, "cpu", 0) < 0)
        return;
    int rc = wan_vae_open(&v, d, REFS_SMALL "/umt5/text_encoder", WAN_VAE_ENCODER, WAN_F32);
    ok(rc < 0 && !v, "another model's folder is refused: %s", wan_err_text());
    if (!ok(wan_vae_open(&v, d, REFS_SMALL "/vae_r1/vae", WAN_VAE_ENCODER, WAN_F32) == 0,
            "encoder alone"))
        return;
    ok(wan_vae_channels(v) == 16, "16 channels");
    rc = wan_vae_encode(v, z, rgb, 4, 16, 16, 0);
    ok(rc < 0, "4 frames: %s", wan_err_text());
    rc = wan_vae_encode(v, z, rgb, 1, 12, 16, 0);
    ok(rc < 0, "height 12: %s", wan_err_text());
    rc = wan_vae_decode(v, z, 1, 1, 1, keep, NULL);
    ok(rc < 0, "no decoder: %s", wan_err_text());
    wan_vae_close(&v);
    wan_dev_close(&d);
}

int main(void)
{
    refs cases = refs_find("vae_", "case.json");
    const char *dev = refs_device();
    ok(cases.n > 0, "%d cases in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++) {
        if (refs_small())
            check_model(cases.dir[i], "ref", WAN_F32, F32_BOUND);
        check_model(cases.dir[i], dev, WAN_F32, F32_BOUND);
    }
    if (refs_small()) {
        check_model(REFS_SMALL "/vae_r1", dev, WAN_BF16, BF16_BOUND);
        check_model(REFS_SMALL "/vae_r2", "ref", WAN_BF16, BF16_BOUND);
        check_model(REFS_SMALL "/vae_r1", dev, WAN_F16, F16_BOUND);
        check_model(REFS_SMALL "/vae_r2", "ref", WAN_F16, F16_BOUND);
        check_bands(REFS_SMALL "/vae_r1/vae", "cpu", WAN_F16);
        check_bands(REFS_SMALL "/vae_r1/vae", "ref", WAN_F32);
        check_bands(REFS_SMALL "/vae_r2/vae", "cpu", WAN_F32);
        check_bands(REFS_SMALL "/vae_r1/vae", "cpu", WAN_BF16);
        check_wide();
        check_refusals();
    }
    return tap_done();
}
