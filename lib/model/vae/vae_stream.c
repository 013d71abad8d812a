/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_stream.c - frames through the stages of one direction of the VAE (vae_net.h).
 *
 * The temporal resamplers follow the closed forms of wan-model(7), VAE time, which know no chunks:
 *   down:  out[0] = y[0];  out[k] = conv(y[2k-2], y[2k-1], y[2k])
 *   up:    out[0] = x[0];  (out[2k-1], out[2k]) = conv(z[k-2], z[k-1], x[k]), z[0] = z[-1] = 0
 * so the result is the same however the frames are cut into pieces.
 */
#include <string.h>

#include "lib/model/vae/vae_net.h"

static int run_stage(vae_net *n, int i);

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static size_t bytes_of(const vae_net *n, int64_t elements)
{
    return (size_t)elements * wan_dtype_size(n->compute);
}

static wan_buf work_at(const vae_net *n, int64_t elements)
{
    return wan_buf_at(wan_buf_of(n->work, n->compute), elements);
}

/* The convolution over T frames of x, behind `past` of zeros. */
static int convolve_after(vae_net *n, const vae_conv *v, wan_buf y, wan_buf x, int64_t past,
                          int64_t T, int add)
{
    wan_conv c = v->c;
    c.T = T;
    c.past = past;
    return n->d->ops->conv_forward(n->d, &c, y, x, v->w, v->b, add);
}

static int convolve(vae_net *n, const vae_conv *v, wan_buf y, wan_buf x, int64_t T, int add)
{
    return convolve_after(n, v, y, x, 0, T, add);
}

/* ---- belts (vae_net.h) */

static wan_buf belt_at(const vae_net *n, const vae_belt *b, int64_t slot)
{
    return wan_buf_at(wan_buf_of(b->mem, n->compute), slot * b->frame);
}

static int64_t first_slot(const vae_net *n, const vae_belt *b, const vae_conv *v)
{
    return n->single ? 0 : b->at + 2 * (b->lanes - 1 - v->lane);
}

/* Where new frames of v are written. */
static wan_buf incoming(const vae_net *n, const vae_belt *b, const vae_conv *v)
{
    return belt_at(n, b, first_slot(n, b, v) + 2);
}

/* All convolutions of b have read m frames. */
static int belt_move(vae_net *n, vae_belt *b, int64_t m)
{
    int64_t past = 2 * b->lanes, from = b->at + m;
    if (n->single)
        return 0;
    b->at = from;
    if (from + past + b->cap <= b->slots)
        return 0;
    b->at = 0;
    for (int64_t f = 0, some; f < past; f += some) { /* as many as do not overlap */
        some = min64(from, past - f);
        WAN_TRY(wan_dev_copy(n->d, belt_at(n, b, f).p, belt_at(n, b, from + f).p,
                             bytes_of(n, some * b->frame)));
    }
    return 0;
}

/* Causal: m frames have come in behind the past ones. */
static int convolve_causal(vae_net *n, const vae_belt *b, vae_conv *v, wan_buf y, int64_t m,
                           int add)
{
    int64_t past = 2 - v->known;
    wan_buf x = belt_at(n, b, first_slot(n, b, v) + past);
    v->known = (int)min64(2, v->known + m);
    return convolve_after(n, v, y, x, past, m + 2 - past, add);
}

/* ---- nodes: m frames in s->x, in place */

static int run_res(vae_net *n, vae_stage *s, vae_node *e, int64_t m)
{
    const wan_ops *ops = n->d->ops;
    int64_t P = s->H * s->W;
    const vae_belt *b1 = &s->belts[e->conv1.belt], *b2 = &s->belts[e->conv2.belt];
    wan_buf x = WAN_RBUF(s->x), y = wan_buf_of(n->y, n->compute);
    WAN_TRY(
        ops->vae_norm(n->d, incoming(n, b1, &e->conv1), x, e->gamma1, m * P, e->Ci, WAN_ACT_SILU));
    WAN_TRY(convolve_causal(n, b1, &e->conv1, y, m, 0));
    if (e->has_shortcut) {
        WAN_TRY(ops->cast(n->d, work_at(n, 0), x, m * P * e->Ci));
        WAN_TRY(convolve(n, &e->shortcut, x, work_at(n, 0), m, 0));
    }
    WAN_TRY(
        ops->vae_norm(n->d, incoming(n, b2, &e->conv2), y, e->gamma2, m * P, e->Co, WAN_ACT_SILU));
    return convolve_causal(n, b2, &e->conv2, x, m, 1);
}

static int attention_pack(vae_net *n, int64_t m, int64_t P)
{
    int64_t len[64];
    if (n->pack_n == m && n->pack_len == P)
        return 0;
    if (n->pack_n)
        wan_pack_free(n->d, &n->pack);
    n->pack_n = 0;
    for (int64_t i = 0; i < m; i++)
        len[i] = P;
    WAN_TRY(wan_pack_new(n->d, &n->pack, len, (int)m));
    n->pack_n = m;
    n->pack_len = P;
    return 0;
}

/* One head over the positions of each frame; attention knows no fp16, and has fp32 there. */
static int run_attn(vae_net *n, vae_stage *s, vae_node *e, int64_t m)
{
    const wan_ops *ops = n->d->ops;
    int64_t P = s->H * s->W, C = e->Ci;
    const int half = n->compute == WAN_F16;
    const wan_dtype t = half ? WAN_REAL : n->compute;
    wan_buf x = WAN_RBUF(s->x), qkv = wan_buf_of(n->y, t), o = wan_buf_of(n->work, t);
    wan_buf row = half ? work_at(n, 2 * m * P * C) : o;
    WAN_TRY(attention_pack(n, m, P));
    WAN_TRY(ops->vae_norm(n->d, row, x, e->gamma1, m * P, C, WAN_ACT_NONE));
    WAN_TRY(convolve(n, &e->conv1, qkv, row, m, 0));
    wan_attn a = { .pq = &n->pack,
                   .pk = &n->pack,
                   .H = 1,
                   .hd = C,
                   .scale = 1 / sqrt((double)C),
                   .ldq = 3 * C,
                   .ldk = 3 * C,
                   .ldv = 3 * C,
                   .ldo = C };
    WAN_TRY(ops->attention_forward(n->d, &a, o, n->lse, qkv, wan_buf_at(qkv, C),
                                   wan_buf_at(qkv, 2 * C)));
    if (half)
        WAN_TRY(ops->cast(n->d, row, o, m * P * C));
    return convolve(n, &e->conv2, x, row, m, 1);
}

/* ---- resamplers */

/* m frames have been written behind the waiting ones of stage i. */
static int arrived(vae_net *n, int i, int64_t m)
{
    vae_stage *s = &n->stages[i];
    s->fill += m;
    return s->fill == s->cap ? run_stage(n, i) : 0;
}

static wan_buf landing(const vae_stage *s)
{
    return WAN_RBUF(s->x + s->fill * s->H * s->W * s->C_in);
}

/* m frames of x in compute type: x itself, or a copy at the start of work. */
static int operand(vae_net *n, wan_buf *out, wan_real *x, int64_t elements)
{
    *out = n->compute == WAN_REAL ? WAN_RBUF(x) : work_at(n, 0);
    return n->compute == WAN_REAL ? 0 : n->d->ops->cast(n->d, *out, WAN_RBUF(x), elements);
}

/* Frames k .. k+m of stage s through its resampler, into rows out0.. of the next resolution. */
static int shrink(vae_net *n, const vae_stage *s, wan_buf y, int64_t k, int64_t m)
{
    int64_t row = s->W * s->C_out, skip = 2 * s->out0 - s->row0;
    int64_t each = s->space.c.H == s->H ? m : 1; /* of a frame that is cut, some rows are read */
    for (int64_t f = k; f < k + m; f += each) {
        wan_buf x;
        WAN_TRY(operand(n, &x, s->x + (f * s->H + skip) * row, each * s->space.c.H * row));
        WAN_TRY(convolve(n, &s->space, y, x, each, 0));
        y = wan_buf_at(y, s->out_rows * s[1].W * s->C_out);
    }
    return 0;
}

/* Whether the rows that stage i gives are joined by those of other bands. */
static int joined(const vae_net *n, int i)
{
    return n->part && i == n->n_stages - 2;
}

/* Where the next frames of stage i are written, and how many of m at once. */
static wan_buf landing_of(const vae_net *n, int i, int64_t *m)
{
    const vae_stage *next = &n->stages[i + 1];
    *m = joined(n, i) ? 1 : min64(*m, next->cap - next->fill);
    return joined(n, i) ? WAN_RBUF(n->part) : landing(next);
}

/* The rows of one band after the other: 1 when the frame is whole. */
static int join_rows(vae_net *n, const vae_stage *next)
{
    int64_t first, end, row = next->W * next->C_in;
    wan_real *frame = n->joint + n->joint_n++ * next->H * row;
    wan_vae_layout_rows(n, n->band, &first, &end);
    WAN_TRY(wan_dev_copy(n->d, frame + first * row, n->part,
                         (size_t)((end - first) * row) * sizeof *frame));
    if (n->band + 1 < n->bands)
        return 0;
    WAN_TRY(wan_dev_copy(n->d, landing(next).p, frame, (size_t)(next->H * row) * sizeof *frame));
    return 1;
}

/* Those m frames are there. */
static int landed(vae_net *n, int i, int64_t m)
{
    const vae_stage *next = &n->stages[i + 1];
    int whole = 1;
    if (joined(n, i) && n->joint)
        WAN_TRY(whole = join_rows(n, next));
    else if (joined(n, i))
        WAN_TRY(wan_vae_share_rows(n, landing(next).p, n->part, next->W * next->C_in));
    return whole ? arrived(n, i + 1, m) : 0;
}

static int leave_down(vae_net *n, int i, int64_t m)
{
    for (int64_t done = 0, k; done < m; done += k) {
        k = m - done;
        wan_buf y = landing_of(n, i, &k);
        WAN_TRY(shrink(n, &n->stages[i], y, done, k));
        WAN_TRY(landed(n, i, k));
    }
    return 0;
}

static int leave_down_timed(vae_net *n, int i, int64_t m)
{
    vae_stage *s = &n->stages[i];
    int64_t frame = s->out_rows * s[1].W * s->C_out, k = 1;
    wan_buf tail = wan_buf_of(s->tail, n->compute), y;
    WAN_TRY(shrink(n, s, wan_buf_at(tail, s->n_tail * frame), 0, m));
    s->n_tail += m;
    if (s->seen == 0) {
        y = landing_of(n, i, &k);
        WAN_TRY(n->d->ops->cast(n->d, y, tail, frame));
        WAN_TRY(landed(n, i, 1));
    }
    s->seen += m;
    int64_t out = (s->n_tail - 1) / 2;
    for (int64_t done = 0; done < out; done += k) {
        k = out - done;
        y = landing_of(n, i, &k);
        WAN_TRY(convolve(n, &s->time, y, wan_buf_at(tail, 2 * done * frame), 2 * k + 1, 0));
        WAN_TRY(landed(n, i, k));
    }
    s->n_tail -= 2 * out; /* 1 or 2 frames stay for the next outputs */
    return out ? wan_dev_copy(n->d, s->tail, wan_buf_at(tail, 2 * out * frame).p,
                              bytes_of(n, s->n_tail * frame))
               : 0;
}

/* How many of m frames stage i can enlarge at once: of those that the next holds in part, one; few, as
 * some providers lay the enlarged ones out. */
static int64_t enlarge_at_once(const vae_net *n, int i, int64_t m)
{
    const vae_stage *s = &n->stages[i], *next = s + 1;
    return next->H == 2 * s->H ? min64(4, min64(m, next->cap - next->fill)) : 1;
}

/* m frames, compute type, enlarged and convolved into the next stage, which may hold fewer rows. */
static int enlarge(vae_net *n, int i, wan_buf x, int64_t m)
{
    vae_stage *s = &n->stages[i], *next = s + 1;
    x = wan_buf_at(x, (next->row0 / 2 - s->row0) * s->W * s->C_out);
    WAN_TRY(convolve(n, &s->space, landing(next), x, m, 0));
    return arrived(n, i + 1, m);
}

static int leave_up(vae_net *n, int i, int64_t first, int64_t m)
{
    vae_stage *s = &n->stages[i];
    int64_t frame = s->H * s->W * s->C_out;
    for (int64_t k = first, some; k < m; k += some) {
        wan_buf x;
        some = enlarge_at_once(n, i, m - k);
        WAN_TRY(operand(n, &x, s->x + k * frame, some * frame));
        WAN_TRY(enlarge(n, i, x, some));
    }
    return 0;
}

static int leave_up_timed(vae_net *n, int i, int64_t m)
{
    vae_stage *s = &n->stages[i];
    int64_t P = s->H * s->W, frame = P * s->C_out, first = s->seen == 0, past = 2 - s->n_tail;
    wan_buf tail = wan_buf_of(s->tail, n->compute), y = wan_buf_of(n->y, n->compute);
    wan_buf pairs = wan_buf_of(s->x, n->compute);
    if (first)
        WAN_TRY(leave_up(n, i, 0, 1));
    s->seen += m;
    m -= first;
    if (m == 0)
        return 0;
    WAN_TRY(n->d->ops->cast(n->d, wan_buf_at(tail, 2 * frame), WAN_RBUF(s->x + first * frame),
                            m * frame));
    WAN_TRY(convolve_after(n, &s->time, y, wan_buf_at(tail, past * frame), past, m + 2 - past, 0));
    s->n_tail = min64(2, s->n_tail + m);
    for (int64_t k = 2 - s->n_tail; k < 2; k++) /* one by one: the ranges may overlap */
        WAN_TRY(wan_dev_copy(n->d, wan_buf_at(tail, k * frame).p,
                             wan_buf_at(tail, (m + k) * frame).p, bytes_of(n, frame)));
    WAN_TRY(n->d->ops->vae_interleave(n->d, pairs, y, m, P, s->C_out));
    for (int64_t k = 0, some; k < 2 * m; k += some) {
        some = enlarge_at_once(n, i, 2 * m - k);
        WAN_TRY(enlarge(n, i, wan_buf_at(pairs, k * frame), some));
    }
    return 0;
}

static int leave_net(vae_net *n, vae_stage *s, int64_t m)
{
    const vae_belt *b = &s->belts[n->last.belt];
    WAN_TRY(n->d->ops->vae_norm(n->d, incoming(n, b, &n->last), WAN_RBUF(s->x), n->gamma_out,
                                m * s->H * s->W, s->C_out, WAN_ACT_SILU));
    WAN_TRY(convolve_causal(n, b, &n->last, WAN_RBUF(n->y), m, 0));
    return n->sink(n->arg, n->y, m);
}

static int leave(vae_net *n, int i, int64_t m)
{
    vae_stage *s = &n->stages[i];
    switch (s->leave) {
    case VAE_DOWN: return s->timed ? leave_down_timed(n, i, m) : leave_down(n, i, m);
    case VAE_UP: return s->timed ? leave_up_timed(n, i, m) : leave_up(n, i, 0, m);
    default: return leave_net(n, s, m);
    }
}

static int run_stage(vae_net *n, int i)
{
    vae_stage *s = &n->stages[i];
    int64_t m = s->fill;
    s->fill = 0;
    for (int k = 0; k < s->n_nodes; k++) {
        vae_node *e = &s->nodes[k];
        WAN_TRY(e->kind == VAE_RES ? run_res(n, s, e, m) : run_attn(n, s, e, m));
    }
    WAN_TRY(leave(n, i, m));
    WAN_TRY(belt_move(n, &s->belts[0], m));
    return belt_move(n, &s->belts[1], m);
}

wan_buf wan_vae_stream_input(vae_net *n)
{
    return incoming(n, &n->front, &n->first);
}

int64_t wan_vae_stream_room(const vae_net *n)
{
    return n->stages[0].cap - n->stages[0].fill;
}

int wan_vae_stream_push(vae_net *n, int64_t frames)
{
    WAN_TRY(convolve_causal(n, &n->front, &n->first, landing(&n->stages[0]), frames, 0));
    WAN_TRY(belt_move(n, &n->front, frames));
    return arrived(n, 0, frames);
}

int wan_vae_stream_flush(vae_net *n)
{
    for (int i = 0; i < n->n_stages; i++)
        if (n->stages[i].fill > 0)
            WAN_TRY(run_stage(n, i));
    return 0;
}
