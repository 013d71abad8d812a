/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_layout.c - memory of one direction of the VAE for a given size of input.
 *
 * Full resolution dominates: a frame of 96 channels at 480x832 is 153 MB in float.  So few frames
 * are worked on at a time where frames are large, and one padded input (work) and one output (y)
 * serve every convolution; only the past frames are each convolution's own.  Where those are too
 * many for the budget, the picture is made in bands of rows (vae_net.h).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

/* Activations of one stage beyond which frames are taken one by one. */
#define PIECE_CPU (32ll << 20)
#define PIECE_CUDA (3ll << 27)
/* Bands of fewer rows would mostly compute what their neighbours compute too. */
#define BAND_ROWS 64

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t frame_of(const vae_conv *v)
{
    return v->c.H * v->c.W * v->c.Ci;
}

static int64_t belt_bytes(const vae_net *n, const vae_belt *b)
{
    return b->slots * b->frame * (int64_t)wan_dtype_size(n->compute);
}

static int take_belt(vae_net *n, vae_belt *b)
{
    b->mem =
        b->lanes ? wan_dev_alloc(n->d, (size_t)belt_bytes(n, b), "past frames of the VAE") : NULL;
    return b->lanes && !b->mem ? -1 : 0;
}

static void give_belt(vae_net *n, vae_belt *b)
{
    wan_dev_free(n->d, b->mem);
    b->mem = NULL;
}

/* ---- sizes */

/* Whole pictures: sides of every stage, and the frames it takes at once. */
static void set_stages(vae_net *n, int64_t H, int64_t W, int64_t chunk)
{
    int64_t piece = n->d->kind != WAN_DEV_CPU ? PIECE_CUDA : PIECE_CPU, limit = chunk;
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        s->H = H, s->W = W, s->row0 = 0;
        s->out0 = 0, s->out_rows = H / 2;
        s->cap = max64(1, min64(piece / (H * W * s->C_max * (int64_t)sizeof(wan_real)), limit));
        if (s->timed)
            limit = s->leave == VAE_UP ? 2 * limit : max64(1, limit / 2);
        H = s->leave == VAE_UP ? 2 * H : s->leave == VAE_DOWN ? H / 2 : H;
        W = s->leave == VAE_UP ? 2 * W : s->leave == VAE_DOWN ? W / 2 : W;
    }
}

/* Rows by which what stage i gives depends on more than its own: those of its nodes, of the
 * resampler in front, and of conv_out behind the last. */
static int64_t reach(const vae_net *n, int i)
{
    int64_t rows = n->stages[i - 1].space.c.kh / 2;
    for (int k = 0; k < n->stages[i].n_nodes; k++)
        rows += n->stages[i].nodes[k].conv1.c.kh / 2 + n->stages[i].nodes[k].conv2.c.kh / 2;
    return rows + (i == n->n_stages - 1 ? n->last.c.kh / 2 : 0);
}

/* Cuts the stages down to the rows that the band depends on; even, as the one before has half of
 * them.  The first stays whole: its attention looks everywhere, and it is small. */
static void set_windows(vae_net *n)
{
    int64_t lo, hi;
    wan_vae_layout_rows(n, n->band, &lo, &hi);
    for (int i = n->n_stages - 1; i > 0; i--) {
        vae_stage *s = &n->stages[i];
        int64_t more = reach(n, i);
        lo = max64(0, lo - more) / 2;
        hi = (min64(s->H, hi + more) + 1) / 2;
        s->row0 = 2 * lo;
        s->H = 2 * (hi - lo);
    }
}

/* The same for an encoder, whose last stage stays whole: band n->band of that stage's rows is given to it. */
static void set_windows_down(vae_net *n)
{
    int64_t lo, hi;
    wan_vae_layout_rows(n, n->band, &lo, &hi);
    for (int i = n->n_stages - 2; i >= 0; i--) {
        vae_stage *s = &n->stages[i];
        int64_t rows = i ? 0 : n->first.c.kh / 2;
        for (int k = 0; k < s->n_nodes; k++)
            rows += s->nodes[k].conv1.c.kh / 2 + s->nodes[k].conv2.c.kh / 2;
        s->out0 = lo;
        s->out_rows = hi - lo;
        lo = max64(0, 2 * lo - rows) / 2 * 2;
        hi = min64(s->H, (2 * hi + 1 + rows + 1) / 2 * 2); /* output k reads 2k, 2k+1 and 2k+2 */
        s->row0 = lo;
        s->H = hi - lo;
    }
}

/* A resampler that halves reads one row more than twice what it gives, but at the lower edge. */
static void set_down(vae_stage *s, int64_t whole)
{
    int edge = 2 * (s->out0 + s->out_rows) >= whole;
    s->space.c.H = 2 * s->out_rows + !edge;
    s->space.c.bottom = edge;
}

/* Sides of what every convolution reads; that of a resampler has been enlarged, or is still large. */
static void set_convolutions(vae_net *n)
{
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        for (int k = 0; k < s->n_nodes; k++) {
            vae_node *e = &s->nodes[k];
            e->conv1.c.H = e->conv2.c.H = e->shortcut.c.H = s->H;
            e->conv1.c.W = e->conv2.c.W = e->shortcut.c.W = s->W;
        }
        if (s->leave == VAE_LAST)
            continue;
        const vae_stage *space = s->leave == VAE_UP ? s + 1 : s;
        const vae_stage *time = s->leave == VAE_UP ? s : s + 1;
        s->space.c.H = space->H, s->space.c.W = space->W;
        s->time.c.H = time->H, s->time.c.W = time->W;
        if (s->leave == VAE_DOWN) {
            set_down(s, n->H >> i);
            s->time.c.H = s->out_rows;
        }
    }
    const vae_stage *last = &n->stages[n->n_stages - 1];
    n->first.c.H = n->stages[0].H, n->first.c.W = n->stages[0].W;
    n->last.c.H = last->H, n->last.c.W = last->W;
}

static void add_lane(vae_belt *belts, int which, vae_conv *v, int64_t cap)
{
    vae_belt *b = &belts[which];
    v->belt = which;
    v->lane = (int)b->lanes++;
    b->frame = frame_of(v);
    b->cap = cap;
}

/* The more frames a belt has beyond those that it needs, the less often past ones are copied. */
static void set_slots(const vae_net *n, vae_belt *b)
{
    b->slots = b->lanes ? 2 * b->lanes + b->cap + n->spare * b->lanes / 2 : 0;
}

static void set_belts(vae_net *n)
{
    n->front = (vae_belt){ .lanes = 0 };
    add_lane(&n->front, 0, &n->first, n->stages[0].cap);
    set_slots(n, &n->front);
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        s->belts[0] = s->belts[1] = (vae_belt){ .lanes = 0 };
        for (int k = 0; k < s->n_nodes; k++) {
            vae_node *e = &s->nodes[k];
            if (e->kind != VAE_RES)
                continue;
            add_lane(s->belts, e->Ci != s->C_in, &e->conv1, s->cap);
            add_lane(s->belts, e->Co != s->C_in, &e->conv2, s->cap);
        }
        if (s->leave == VAE_LAST)
            add_lane(s->belts, s->C_out != s->C_in, &n->last, s->cap);
        set_slots(n, &s->belts[0]);
        set_slots(n, &s->belts[1]);
    }
}

static void set_sizes(vae_net *n)
{
    set_stages(n, n->H, n->W, n->chunk);
    if (n->bands > 1 && n->stages[0].leave == VAE_DOWN)
        set_windows_down(n);
    else if (n->bands > 1)
        set_windows(n);
    set_convolutions(n);
    set_belts(n);
}

/* Rows of the whole result. */
static int64_t height(const vae_net *n)
{
    int64_t H = n->H;
    for (int i = 0; i < n->n_stages; i++)
        H = n->stages[i].leave == VAE_UP ? 2 * H : n->stages[i].leave == VAE_DOWN ? H / 2 : H;
    return H;
}

void wan_vae_layout_rows(const vae_net *n, int b, int64_t *first, int64_t *end)
{
    int64_t H = height(n);
    *first = H * b / n->bands;
    *end = H * (b + 1) / n->bands;
}

/* ---- memory */

/* Elements of work and of y (compute type) that stage s needs, and positions under attention, which reads and
 * writes fp32 where the rest is fp16. */
static void measure(const vae_net *n, const vae_stage *s, int64_t *work, int64_t *y, int64_t *lse)
{
    int64_t P = s->H * s->W, words = n->compute == WAN_F16 ? 2 : 1;
    for (int i = 0; i < s->n_nodes; i++) {
        const vae_node *e = &s->nodes[i];
        int res = e->kind == VAE_RES;
        *work = max64(*work, e->has_shortcut ? s->cap * P * e->Ci : 0);
        *y = max64(*y, s->cap * P * (res ? e->Co : 3 * e->Co * words));
        if (res)
            continue;
        *work = max64(*work, s->cap * P * e->Co * (2 * words - 1));
        *lse = max64(*lse, s->cap * P);
    }
    if (s->leave != VAE_LAST && n->compute != WAN_REAL)
        *work = max64(*work, s->cap * P * s->C_out);
    if (s->leave == VAE_UP && s->timed)
        *y = max64(*y, 2 * s->cap * P * s->C_out);
}

static int64_t x_bytes(const vae_net *n, const vae_stage *s)
{
    int64_t P = s->H * s->W, x = s->cap * P * s->C_max * (int64_t)sizeof(wan_real);
    if (s->leave == VAE_UP && s->timed) /* holds the interleaved frames later */
        x = max64(x, 2 * s->cap * P * s->C_out * (int64_t)wan_dtype_size(n->compute));
    return x;
}

static int64_t tail_bytes(const vae_net *n, const vae_stage *s)
{
    return s->timed ? (s->cap + 2) * frame_of(&s->time) * (int64_t)wan_dtype_size(n->compute) : 0;
}

static int take_stage(vae_net *n, vae_stage *s)
{
    s->x = wan_dev_alloc(n->d, (size_t)x_bytes(n, s), "frames of the VAE");
    if (!s->x)
        return -1;
    WAN_TRY(take_belt(n, &s->belts[0]));
    WAN_TRY(take_belt(n, &s->belts[1]));
    if (!s->timed)
        return 0;
    s->tail = wan_dev_alloc(n->d, (size_t)tail_bytes(n, s), "past frames of the VAE");
    return s->tail ? 0 : -1;
}

/* Bytes of what all stages share. */
typedef struct shared {
    int64_t work, y, lse;
} shared;

static shared measure_shared(const vae_net *n)
{
    int64_t work = 1, y = 0, lse = 1;
    for (int i = 0; i < n->n_stages; i++)
        measure(n, &n->stages[i], &work, &y, &lse);
    int64_t out = n->stages[n->n_stages - 1].cap * n->last.c.H * n->last.c.W * n->last.c.Co;
    int64_t size = (int64_t)wan_dtype_size(n->compute), real = (int64_t)sizeof(wan_real);
    return (shared){ work * size, max64(y * size, out * real), lse * real };
}

static int take_shared(vae_net *n)
{
    shared m = measure_shared(n);
    n->work = wan_dev_alloc(n->d, (size_t)m.work, "work space of the VAE");
    n->y = wan_dev_alloc(n->d, (size_t)m.y, "work space of the VAE");
    n->lse = wan_dev_alloc(n->d, (size_t)m.lse, "work space of the VAE");
    return n->work && n->y && n->lse ? 0 : -1;
}

/* A frame of the rows that the stages in front of an encoder's last give. */
static int64_t part_bytes(const vae_net *n)
{
    const vae_stage *s = &n->stages[n->n_stages - 2];
    if (n->bands == 1 || s->leave != VAE_DOWN)
        return 0;
    return s->out_rows * s[1].W * s[1].C_in * (int64_t)sizeof(wan_real);
}

static int take_part(vae_net *n)
{
    size_t bytes = n->n_stages > 1 ? (size_t)part_bytes(n) : 0;
    n->part = bytes ? wan_dev_alloc(n->d, bytes, "rows of the VAE") : NULL;
    return bytes && !n->part ? -1 : 0;
}

static int take_all(vae_net *n)
{
    WAN_TRY(take_shared(n));
    WAN_TRY(take_part(n));
    WAN_TRY(take_belt(n, &n->front));
    for (int i = 0; i < n->n_stages; i++)
        WAN_TRY(take_stage(n, &n->stages[i]));
    return 0;
}

/* What take_all would take. */
static int64_t measure_all(const vae_net *n)
{
    shared m = measure_shared(n);
    int64_t sum = m.work + m.y + m.lse + belt_bytes(n, &n->front);
    for (int i = 0; i < n->n_stages; i++) {
        const vae_stage *s = &n->stages[i];
        sum += x_bytes(n, s) + tail_bytes(n, s);
        sum += belt_bytes(n, &s->belts[0]) + belt_bytes(n, &s->belts[1]);
    }
    return sum;
}

/* Bytes of the largest band. */
static int64_t largest_band(vae_net *n)
{
    int64_t most = 0;
    for (n->band = 0; n->band < n->bands; n->band++) {
        set_sizes(n);
        most = max64(most, measure_all(n));
    }
    return most;
}

/* Whether bands that take `most` are to be smaller: to cut once costs a fifth more time and is done
 * beyond a third of the budget, to cut again beyond all of it. */
static int too_large(const vae_net *n, int64_t most, int64_t ranks)
{
    if (n->share) /* of an encoder: each rank has one */
        return 0;
    return n->budget && most > (n->bands == ranks ? n->budget / 3 : n->budget);
}

/* The fewest bands, as many for each rank, as far as they can be cut. */
static void choose_bands(vae_net *n)
{
    int64_t rows = max64(n->H, height(n)), ranks = max64(1, n->ranks);
    n->bands = (int)ranks;
    while (too_large(n, largest_band(n), ranks) && rows / (n->bands + ranks) >= BAND_ROWS)
        n->bands += (int)ranks;
}

/* A net whose sizes can be set without the other's: with nodes of its own, of the same memory. */
static int sketch(vae_net *out, const vae_net *n)
{
    *out = *n;
    for (int i = 0; i < n->n_stages; i++)
        out->stages[i].nodes = NULL;
    for (int i = 0; i < n->n_stages; i++) {
        const vae_stage *s = &n->stages[i];
        const size_t count = (size_t)s->n_nodes;
        vae_node *v = out->stages[i].nodes = wan_malloc(count + 1, sizeof *v, "sizes of the VAE");
        if (!v)
            return -1;
        if (count)
            memcpy(v, s->nodes, count * sizeof *v);
    }
    return 0;
}

int64_t wan_vae_layout_bytes(const vae_net *net, int64_t H, int64_t W, int64_t chunk)
{
    vae_net n;
    int64_t most = sketch(&n, net);
    if (most == 0) {
        n.H = H, n.W = W, n.chunk = chunk;
        choose_bands(&n);
        most = largest_band(&n);
    }
    for (int i = 0; i < n.n_stages; i++)
        free(n.stages[i].nodes);
    return most;
}

int wan_vae_layout_set(vae_net *n, int64_t H, int64_t W, int64_t chunk, int band)
{
    int known = n->H == H && n->W == W && n->chunk == chunk;
    if (known && n->band == band)
        return 0;
    wan_vae_layout_free(n);
    n->H = H, n->W = W, n->chunk = chunk; /* from here on free has something to do */
    if (!known)
        choose_bands(n);
    n->band = band;
    set_sizes(n);
    if (take_all(n) == 0)
        return 0;
    wan_vae_layout_free(n);
    return -1;
}

void wan_vae_layout_free(vae_net *n)
{
    if (!n->H)
        return;
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        give_belt(n, &s->belts[0]);
        give_belt(n, &s->belts[1]);
        wan_dev_free(n->d, s->x);
        wan_dev_free(n->d, s->tail);
        s->x = s->tail = NULL;
    }
    give_belt(n, &n->front);
    wan_dev_free(n->d, n->work);
    wan_dev_free(n->d, n->y);
    wan_dev_free(n->d, n->lse);
    wan_dev_free(n->d, n->part);
    n->work = n->y = n->lse = n->part = NULL;
    if (n->pack_n)
        wan_pack_free(n->d, &n->pack);
    n->pack_n = n->H = n->W = 0;
}

void wan_vae_layout_reset(vae_net *n, int single)
{
    n->single = single;
    n->first.known = n->last.known = 0;
    n->front.at = 0;
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        s->fill = s->seen = s->n_tail = s->belts[0].at = s->belts[1].at = 0;
        for (int k = 0; k < s->n_nodes; k++)
            s->nodes[k].conv1.known = s->nodes[k].conv2.known = 0;
    }
}
