/* SPDX-License-Identifier: Apache-2.0
 *
 * check_vae_tile.c - pictures that the VAE makes in parts: in tiles, against diffusers with tiling enabled (every
 * vaetile_* of WAN_REF) and, at the size users get, against tiles blended by a formula for each point; in bands of
 * rows when encoding, which must give the bytes of whole pictures.
 */
#include "tests/refs.h"
#include "tests/tap.h"

#include "kernels/ops.h"
#include "lib/base/json.h"
#include "lib/model/vae/vae_net.h"
#include "lib/rec/tensor/safetensors.h"

#define BOUND 1e-5
enum { Z = 16 };

typedef struct clip {
    uint8_t *rgb; /* [T, H, W, 3] */
    int64_t done;
} clip;

static int keep_bytes(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    clip *c = arg;
    (void)pixels;
    memcpy(c->rgb + c->done * H * W * 3, rgb, (size_t)(n * H * W * 3));
    c->done += n;
    return 0;
}

static int keep_floats(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                       int64_t W)
{
    float **to = arg;
    (void)rgb;
    memcpy(*to, pixels, (size_t)(n * H * W * 3) * sizeof *pixels);
    *to += n * H * W * 3;
    return 0;
}

static wan_vae *open_vae(wan_dev **d, const char *dir, const char *dev)
{
    wan_vae *v = NULL;
    if (wan_dev_open(d, dev, 0) < 0 ||
        wan_vae_open(&v, *d, dir, WAN_VAE_ENCODER | WAN_VAE_DECODER, WAN_F32) < 0) {
        ok(0, "%s on %s: %s", dir, dev, wan_err_text());
        exit(1);
    }
    return v;
}

static void close_vae(wan_vae *v, wan_dev *d)
{
    wan_vae_close(&v);
    ok(d->allocated == d->scratch_bytes, "all memory given back");
    wan_dev_close(&d);
}

/* Bytes: none more than 1 off, and few at all. */
static void check_bytes(const uint8_t *got, const uint8_t *want, int64_t n, const char *what)
{
    int worst = 0;
    int64_t off = 0;
    for (int64_t i = 0; i < n; i++) {
        int e = abs(got[i] - want[i]);
        worst = e > worst ? e : worst;
        off += e > 0;
    }
    ok(worst <= 1 && off * 1000 <= n, "%s: %d of %d bytes differ, by %d", what, (int)off, (int)n,
       worst);
}

/* ---- diffusers */

static const wan_st_tensor *find(wan_st *st, const char *what, int t)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%d", what, t);
    const wan_st_tensor *e = wan_st_find(st, name);
    if (!e) {
        ok(0, "%s is in the dump", name);
        exit(1);
    }
    return e;
}

static void check_clip(wan_vae *v, wan_st *in, wan_st *out, int T, const char *who)
{
    const wan_st_tensor *f = find(in, "frames", T), *z = find(in, "z", T);
    const wan_st_tensor *latent = find(out, "latent", T), *video = find(out, "video", T);
    float *got = malloc(latent->bytes);
    clip c = { malloc(video->bytes), 0 };
    char what[128];
    int rc = wan_vae_encode(v, got, f->data, f->shape[0], f->shape[1], f->shape[2], 0);
    ok_err(rc < 0 ? INFINITY : rel_l2(got, latent->data, latent->bytes / 4), BOUND,
           "%s: latent of %d frames", who, T);
    rc = wan_vae_decode(v, z->data, z->shape[1], z->shape[2], z->shape[3], keep_bytes, &c);
    ok(rc == 0 && c.done == T, "%s: %d frames", who, T);
    snprintf(what, sizeof what, "%s: video of %d frames", who, T);
    check_bytes(c.rgb, video->data, (int64_t)video->bytes, what);
    free(got), free(c.rgb);
}

static void check_case(const char *dir, const char *dev)
{
    char path[700];
    wan_dev *d;
    wan_st *in, *out;
    snprintf(path, sizeof path, "%s/vae", dir);
    wan_vae *v = open_vae(&d, path, dev);
    snprintf(path, sizeof path, "%s/in.safetensors", dir);
    int rc = wan_st_open(&in, path);
    snprintf(path, sizeof path, "%s/out.safetensors", dir);
    rc |= wan_st_open(&out, path);
    snprintf(path, sizeof path, "%s/case.json", dir);
    json_t *j = rc ? NULL : wan_json_load(path), *t;
    if (!ok(j != NULL, "%s is read", dir))
        exit(1);
    size_t i;
    wan_vae_tile(v, 1);
    v->tile_side = json_integer_value(json_object_get(j, "side"));
    v->tile_step = json_integer_value(json_object_get(j, "step"));
    json_array_foreach(json_object_get(j, "frames"), i, t)
        check_clip(v, in, out, (int)json_integer_value(t), refs_name(dir));
    json_decref(j);
    wan_st_close(&in);
    wan_st_close(&out);
    close_vae(v, d);
}

/* ---- at their usual size, 256 pixels that begin 192 apart */

enum { T = 5, TL = 2, H = 264, W = 464, ROWS = 2, COLUMNS = 3 }; /* W: of the third 80 columns */

/* Tiles of latents [planes, h, w] or of pixels [T, h, w, 3] (C = 3). */
typedef struct tiles {
    float *x[ROWS][COLUMNS];
    int64_t h[ROWS], w[COLUMNS]; /* of each, in units of the step's */
    int64_t planes, C, side, step;
} tiles;

static float at(const tiles *s, int64_t i, int64_t j, int64_t p, int64_t y, int64_t x, int64_t c)
{
    return s->x[i][j][((p * s->h[i] + y) * s->w[j] + x) * s->C + c];
}

/* The point (y, x) of the whole: of its own tile, and of those above and on the left that it lies in, too. */
static float blended(const tiles *s, int64_t p, int64_t y, int64_t x, int64_t c)
{
    int64_t i = y / s->step, j = x / s->step, both = s->side - s->step, k = s->step;
    int64_t v = y % k, h = x % k, rows = both < s->h[i] ? both : s->h[i];
    int64_t columns = both < s->w[j] ? both : s->w[j];
    double a = i && v < rows ? (double)v / (double)rows : 1,
           b = j && h < columns ? (double)h / (double)columns : 1;
    double own = at(s, i, j, p, v, h, c), up = a < 1 ? at(s, i - 1, j, p, v + k, h, c) : 0;
    double left = b < 1 ? at(s, i, j - 1, p, v, h + k, c) : 0;
    double corner = a < 1 && b < 1 ? at(s, i - 1, j - 1, p, v + k, h + k, c) : 0;
    if (b < 1) /* the one above is blended with its left neighbour first */
        up = (1 - b) * corner + b * up;
    own = (1 - a) * up + a * own;
    left = (1 - a) * corner + a * left;
    return (float)((1 - b) * left + b * own);
}

static void set_sizes(tiles *s, int64_t rows, int64_t columns)
{
    for (int i = 0; i < ROWS; i++)
        s->h[i] = rows - i * s->step < s->side ? rows - i * s->step : s->side;
    for (int j = 0; j < COLUMNS; j++)
        s->w[j] = columns - j * s->step < s->side ? columns - j * s->step : s->side;
}

static void free_tiles(tiles *s)
{
    for (int i = 0; i < ROWS * COLUMNS; i++)
        free(s->x[i / COLUMNS][i % COLUMNS]);
}

static void check_tiled_encode(wan_vae *v)
{
    static float pixels[T * H * W * 3], part[T * 256 * 256 * 3];
    static float got[Z * TL * H / 8 * W / 8], want[Z * TL * H / 8 * W / 8];
    tiles s = { .planes = Z * TL, .C = 1, .side = 32, .step = 24 };
    int rc = 0;
    for (int64_t i = 0; i < T * H * W * 3; i++)
        pixels[i] = (float)((double)((uint64_t)i * 2654435761u >> 8 & 1023) / 1024 - 0.5) +
                    (float)(i / 3 % W) / W - 0.5f;
    set_sizes(&s, H / 8, W / 8);
    for (int k = 0; k < ROWS * COLUMNS; k++) {
        int64_t i = k / COLUMNS, j = k % COLUMNS, h = 8 * s.h[i], w = 8 * s.w[j];
        for (int64_t y = 0; y < T * h; y++)
            memcpy(part + y * w * 3, pixels + ((y / h * H + 192 * i + y % h) * W + 192 * j) * 3,
                   (size_t)(w * 3) * sizeof *part);
        s.x[i][j] = malloc((size_t)(Z * TL * s.h[i] * s.w[j]) * sizeof(float));
        rc |= wan_vae_encode_raw(v, s.x[i][j], NULL, part, T, h, w);
    }
    for (int64_t k = 0; k < (int64_t)(sizeof want / sizeof *want); k++)
        want[k] = blended(&s, k / (H / 8 * (W / 8)), k / (W / 8) % (H / 8), k % (W / 8), 0);
    ok(wan_vae_encode_raw(v, got, NULL, pixels, T, H, W) == 0 &&
           rel_l2(got, want, sizeof got / 4) > 1e-3,
       "tiles give other values than the whole (%.2g)", rel_l2(got, want, sizeof got / 4));
    wan_vae_tile(v, 1);
    rc |= wan_vae_encode_raw(v, got, NULL, pixels, T, H, W);
    wan_vae_tile(v, 0);
    ok_err(rc < 0 ? INFINITY : rel_l2(got, want, sizeof got / 4), 1e-6, "tiles of 256: mean");
    free_tiles(&s);
}

static void check_tiled_decode(wan_vae *v)
{
    static float z[Z * TL * H / 8 * W / 8], part[Z * TL * 32 * 32];
    static uint8_t got[T * H * W * 3], want[T * H * W * 3];
    tiles s = { .planes = T, .C = 3, .side = 256, .step = 192 };
    clip c = { got, 0 };
    int rc = 0;
    for (size_t i = 0; i < sizeof z / sizeof *z; i++)
        z[i] = (float)((i * 2654435761u >> 8) % 4001) / 2000 - 1;
    set_sizes(&s, H, W);
    for (int k = 0; k < ROWS * COLUMNS; k++) {
        int64_t i = k / COLUMNS, j = k % COLUMNS, h = s.h[i] / 8, w = s.w[j] / 8;
        for (int64_t y = 0; y < Z * TL * h; y++)
            memcpy(part + y * w, z + (y / h * (H / 8) + 24 * i + y % h) * (W / 8) + 24 * j,
                   (size_t)w * sizeof *part);
        float *to = s.x[i][j] = malloc((size_t)(T * s.h[i] * s.w[j] * 3) * sizeof(float));
        rc |= wan_vae_decode_whole(v, part, TL, h, w, 1, keep_floats, &to);
    }
    for (int64_t k = 0; k < (int64_t)sizeof want; k++) {
        float x = blended(&s, k / (H * W * 3), k / (W * 3) % H, k / 3 % W, k % 3);
        x = x > 1 ? 1 : x < -1 ? -1 : x;
        want[k] = (uint8_t)((x + 1) / 2 * 255);
    }
    wan_vae_tile(v, 1);
    rc |= wan_vae_decode(v, z, TL, H / 8, W / 8, keep_bytes, &c);
    wan_vae_tile(v, 0);
    ok(rc == 0 && c.done == T, "tiles of 256: %d frames", (int)c.done);
    check_bytes(got, want, sizeof got, "tiles of 256: video");
    free_tiles(&s);
}

/* A picture that is no larger than a tile is not cut. */
static void check_small(wan_vae *v)
{
    static uint8_t rgb[256 * 256 * 3];
    static float a[Z * 32 * 32], b[Z * 32 * 32];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i * 2654435761u >> 13);
    int rc = wan_vae_encode(v, a, rgb, 1, 256, 256, 0);
    wan_vae_tile(v, 1);
    rc |= wan_vae_encode(v, b, rgb, 1, 256, 256, 0);
    wan_vae_tile(v, 0);
    ok(rc == 0 && !memcmp(a, b, sizeof a), "256x256 is one tile");
}

/* ---- bands when encoding */

enum { BAND_T = 9, BAND_H = 320, BAND_W = 16, BAND_Z = Z * 3 * BAND_H / 8 * BAND_W / 8 };

/* The place of a copy of what the nodes of a net hold, and bytes of it. */
static size_t nodes_of(uint8_t *copy, const vae_net *n)
{
    size_t at = 0;
    for (int i = 0; i < n->n_stages; i++) {
        size_t bytes = (size_t)n->stages[i].n_nodes * sizeof *n->stages[i].nodes;
        memcpy(copy + at, n->stages[i].nodes, bytes);
        at += bytes;
    }
    return at;
}

/* To ask for the memory of another size changes nothing, and says what is taken. */
static void check_asking(wan_vae *v, const char *dev)
{
    static uint8_t before[1 << 16], after[sizeof before];
    static uint8_t rgb[64 * 64 * 3];
    static float z[Z * 8 * 8];
    int rc = wan_vae_encode(v, z, rgb, 1, 16, 16, 0);
    size_t n = nodes_of(before, &v->enc), had = v->d->allocated - v->d->scratch_bytes;
    int64_t less = wan_vae_layout_bytes(&v->enc, 16, 16, 4);
    int64_t more = wan_vae_layout_bytes(&v->enc, 64, 64, 4);
    ok(rc == 0 && nodes_of(after, &v->enc) == n && !memcmp(before, after, n),
       "%s: asked for the memory of a size, the net keeps its own (%zu bytes of nodes)", dev, n);
    rc = wan_vae_encode(v, z, rgb, 1, 64, 64, 0);
    int64_t took = (int64_t)(v->d->allocated - v->d->scratch_bytes - had);
    ok(rc == 0 && took >= more - less && took - (more - less) < more / 1000,
       "%s: and it takes %.0f bytes more, as it said (%.0f, and the pack of the attention)", dev,
       (double)took, (double)(more - less));
}

static void check_bands(const char *dir, const char *dev, wan_dtype compute)
{
    static uint8_t rgb[BAND_T * BAND_H * BAND_W * 3];
    static float whole[BAND_Z], cut[BAND_Z];
    wan_dev *d;
    wan_vae *v;
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i / 31 + (i * 2654435761u >> 26));
    if (!ok(wan_dev_open(&d, dev, 0) == 0 &&
                wan_vae_open(&v, d, dir, WAN_VAE_ENCODER, compute) == 0,
            "%s: encoder", dir))
        return;
    ok(v->enc.budget > 0, "%s: there are bands on a CPU", dev);
    v->enc.budget = 0;
    check_asking(v, dev);
    int rc = wan_vae_encode(v, whole, rgb, BAND_T, BAND_H, BAND_W, 0);
    ok(rc == 0 && v->enc.bands == 1, "%s %s: whole pictures", dev, wan_dtype_name(compute));
    const struct {
        int64_t budget;
        int bands, frames;
    } want[] = { { wan_vae_layout_bytes(&v->enc, BAND_H, BAND_W, 4), 2, 9 },
                 { 1, 5, 9 },
                 { 1, 5, 1 } };
    for (int i = 0; i < 3; i++) {
        rc = wan_vae_encode(v, cut, rgb, 1, 16, 16, 0); /* so that bands are chosen anew */
        v->enc.budget = 0;
        if (want[i].frames == 1)
            rc |= wan_vae_encode(v, whole, rgb, 1, BAND_H, BAND_W, 0);
        rc |= wan_vae_encode(v, cut, rgb, 1, 16, 16, 0);
        v->enc.budget = want[i].budget;
        rc |= wan_vae_encode(v, cut, rgb, want[i].frames, BAND_H, BAND_W, 0);
        ok(rc == 0 && v->enc.bands == want[i].bands &&
               !memcmp(whole, cut, want[i].frames == 1 ? sizeof cut / 3 : sizeof cut),
           "%s %s: %d frames in %d bands, the same bytes", dev, wan_dtype_name(compute),
           want[i].frames, v->enc.bands);
    }
    wan_vae_close(&v);
    ok(d->allocated == d->scratch_bytes, "%s: all memory given back", dev);
    wan_dev_close(&d);
}

/* ---- belts: how often past frames are copied to their beginning changes nothing */

enum { BELT_T = 81, BELT_Z = 16 * 21 * 2 * 2, BELT_PX = BELT_T * 16 * 16 * 3 };

typedef struct belt_clip {
    uint8_t rgb[BELT_PX];
    int64_t n;
} belt_clip;

static int keep_clip(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t h,
                     int64_t w)
{
    belt_clip *c = arg;
    (void)pixels;
    if (c->n + n * h * w * 3 > BELT_PX)
        return wan_err("too many frames");
    memcpy(c->rgb + c->n, rgb, (size_t)(n * h * w * 3));
    c->n += n * h * w * 3;
    return 0;
}

static void check_belts(const char *dir, const char *dev, wan_dtype compute)
{
    static float latent[2][BELT_Z];
    static belt_clip film[2];
    const int64_t spare[] = { 0, 1, 3, 7, 60 }; /* the last: never */
    wan_dev *d;
    wan_vae *v;
    if (!ok(wan_dev_open(&d, dev, 0) == 0 &&
                wan_vae_open(&v, d, dir, WAN_VAE_ENCODER | WAN_VAE_DECODER, compute) == 0,
            "%s: both parts", dir))
        return;
    for (int i = 0; i < 5; i++) {
        const int again = i > 0;
        wan_vae_layout_free(&v->dec);
        wan_vae_layout_free(&v->enc);
        v->dec.spare = v->enc.spare = spare[i];
        for (size_t k = 0; k < BELT_Z; k++)
            latent[again][k] = (float)((k * 2654435761u >> 8) % 4001) / 1000 - 2;
        film[again].n = 0;
        int rc = wan_vae_decode(v, latent[again], 21, 2, 2, keep_clip, &film[again]);
        rc |= wan_vae_encode(v, latent[again], film[again].rgb, BELT_T, 16, 16, 4);
        ok(rc == 0 && film[again].n == BELT_PX, "%s %s: %d frames, %d to spare", dev,
           wan_dtype_name(compute), BELT_T, (int)spare[i]);
        if (again)
            ok(!memcmp(film[0].rgb, film[1].rgb, BELT_PX) &&
                   !memcmp(latent[0], latent[1], sizeof latent[0]),
               "%s %s: the same bytes", dev, wan_dtype_name(compute));
    }
    wan_vae_close(&v);
    wan_dev_close(&d);
}

int main(void)
{
    refs cases = refs_find("vaetile_", "case.json");
    const char *dev = refs_device();
    wan_dev *d;
    ok(cases.n > 0, "%d cases in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++) {
        if (refs_small())
            check_case(cases.dir[i], "ref");
        check_case(cases.dir[i], dev);
    }
    if (refs_small()) {
        wan_vae *v = open_vae(&d, REFS_SMALL "/vaetile_r1/vae", dev);
        check_tiled_encode(v);
        check_tiled_decode(v);
        check_small(v);
        close_vae(v, d);
        check_bands(REFS_SMALL "/vae_r1/vae", "ref", WAN_F32);
        check_bands(REFS_SMALL "/vae_r2/vae", "cpu", WAN_F32);
        check_bands(REFS_SMALL "/vae_r1/vae", "cpu", WAN_BF16);
        check_belts(REFS_SMALL "/vae_r1/vae", "cpu", WAN_F32);
        check_belts(REFS_SMALL "/vae_r2/vae", "cpu", WAN_BF16);
    }
    return tap_done();
}
