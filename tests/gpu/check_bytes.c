/* SPDX-License-Identifier: Apache-2.0
 *
 * check_bytes.c - the table of floors (kernels/ops_dry.c) against what the kernels do: every op once on the
 * emulated device, whose kernels tell of each load and store (tests/gpu/emu/emu_trace.cc; products, of their
 * operands and FLOPs), and once on the device that only counts.  A kernel that reads an operand twice, or a
 * floor that forgets one, is off by more than the 2 % that sums and statistics of rows may take.
 */
#include <dlfcn.h>

#include "kernels/device_dry.h"
#include "kernels/ops.h"
#include "tests/gpu/emu/counts.h"
#include "tests/tap.h"

/* Tokens of two samples, columns; rows of text; elements of a vector. */
enum { S = 640, D = 512, HEADS = 4, F = 64, TEXT = 40, N = 1 << 16, EACH = 1 << 20 };
static const double BOUND = 0.02;

static wan_dev *emu, *dry;
static emu_trace_fn *trace;

static void must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

/* Room for at least n elements, none of them infinite. */
static wan_buf take(wan_dtype t, int64_t n)
{
    wan_buf b = wan_buf_of(wan_dev_alloc(emu, (size_t)n * wan_dtype_size(t), "operand"), t);
    must(b.p ? 0 : -1);
    must(wan_dev_zero(emu, b.p, (size_t)n * wan_dtype_size(t)));
    return b;
}

static wan_real *reals(int64_t n)
{
    return take(WAN_REAL, n).p;
}

static wan_buf half(int64_t n)
{
    return take(WAN_BF16, n);
}

/* What the dry device has counted so far. */
static emu_moved counted(void)
{
    const wan_dry *y = wan_device_dry_of(dry);
    emu_moved m = { .read = y->moved };
    for (int i = 0; i < y->kinds; i++)
        m.flops += y->op[i].flops;
    return m;
}

static double off(const emu_moved *m, const emu_moved *floor)
{
    return (m->read + m->written) / floor->read - 1;
}

/* Whether an op moved what the table says: m against the difference of two counts. */
static void judge(const char *name, const emu_moved *m, emu_moved was)
{
    emu_moved is = counted(), floor = { .read = is.read - was.read, .flops = is.flops - was.flops };
    ok(fabs(off(m, &floor)) <= BOUND && fabs(m->flops - floor.flops) <= BOUND * floor.flops,
       "%s: %.0f read, %.0f written, %+.1f %% of the floor%s", name, m->read, m->written,
       100 * off(m, &floor), floor.flops > 0 ? "; FLOPs too" : "");
}

/* The op on both devices. */
#define CALL(op, ...)                                                                              \
    do {                                                                                           \
        const emu_moved was_ = counted();                                                          \
        emu_moved m_;                                                                              \
        trace(1, NULL);                                                                            \
        must(emu->ops->op(emu, __VA_ARGS__));                                                      \
        must(wan_dev_sync(emu));                                                                   \
        trace(0, &m_);                                                                             \
        must(dry->ops->op(dry, __VA_ARGS__));                                                      \
        judge(#op, &m_, was_);                                                                     \
    } while (0)

static wan_pack pack, text;

/* Rows of numbers that many ops take: fp32, bf16. */
static wan_real *x, *y, *z, *mean, *rstd, *gain;
static wan_buf h[4];

static void elementwise(void)
{
    const double c[3] = { 1, 2, 3 };
    const wan_real *const from[3] = { x, y, z };
    const wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, 0);
    CALL(act_forward, h[0], h[1], N, WAN_ACT_GELU_TANH);
    CALL(act_backward, h[0], h[1], h[2], N, WAN_ACT_GELU_TANH);
    CALL(act_gated, h[0], h[1], h[2], N, WAN_ACT_GELU_TANH);
    CALL(cast, h[0], WAN_RBUF(x), N);
    CALL(axpy, WAN_RBUF(y), 2, h[0], N);
    CALL(fill, h[0], 1, N);
    CALL(lincomb, z, 3, c, from, N);
    CALL(sumsq, (double *)(void *)mean, WAN_RBUF(x), N, 0);
    CALL(finite, (int64_t *)(void *)mean, h[1], N);
    CALL(randn, WAN_RBUF(z), &r, 0, N);
    CALL(round8, h[0], h[1], N, WAN_E4M3);
    const wan_adamw a = { 0.9, 0.95, 1e-8 };
    wan_real *m = reals(N), *v = reals(N);
    CALL(adamw_step, &a, gain, x, m, v, y, h[0], NULL, N);
}

static void norms(void)
{
    CALL(ln_mod_forward, h[0], mean, rstd, x, gain, gain, D, &pack, D, 1e-6);
    CALL(ln_mod_backward, y, z, z + D, 2 * D, h[0], x, mean, rstd, gain, D, &pack, D);
    CALL(ln_affine_forward, h[0], mean, rstd, x, gain, gain, S, D, 1e-6);
    CALL(ln_affine_backward, y, z, z + D, h[0], x, mean, rstd, gain, S, D);
    wan_rope rope = { take(WAN_I32, 3 * S).p, reals(4 * D / HEADS), 4, { 44, 42, 42 } };
    wan_rms a = wan_rms_of(S, D, 1e-6);
    for (int turned = 0; turned < 2; turned++) {
        a.rope = turned ? &rope : NULL;
        CALL(rmsnorm_forward, &a, h[0], rstd, h[1], gain);
        CALL(rmsnorm_backward, &a, h[0], z, h[2], h[1], rstd, gain);
    }
    CALL(rms_sumsq, &a, mean, h[0]);
    CALL(rms_apply, &a, h[0], rstd, mean, h[1], gain);
    CALL(rms_dot, &a, mean, z, h[0], h[1], rstd, gain);
    CALL(rms_dx, &a, h[0], mean, h[2], h[1], rstd, gain);
    CALL(residual_forward, y, x, h[0], gain, D, &pack, D);
    CALL(residual_backward, h[0], z, D, x, h[1], gain, D, &pack, D);
    const wan_resnorm r = { &pack, D, 1e-6, gain, gain, gain, D, 0 };
    const wan_resnorm_grad g = { z, z + 2 * D, z + 4 * D, D };
    CALL(resnorm_forward, &r, y, h[0], mean, rstd, x, h[1]);
    CALL(resnorm_backward, &r, &g, y, h[0], h[1], x, mean, rstd, h[2]);
}

static void products(void)
{
    wan_buf none = wan_buf_of(NULL, WAN_BF16), w = half(D * D), narrow = half(F * D);
    wan_real *dw = reals(D * D);
    CALL(linear_forward, h[0], none, h[1], w, gain, S, D, D, WAN_ACT_NONE);
    CALL(linear_forward, h[0], h[2], h[1], w, gain, S, D, D, WAN_ACT_GELU_TANH);
    CALL(linear_forward, h[0], none, h[1], narrow, gain, S, F, D, WAN_ACT_NONE);
    CALL(linear_dgrad, h[0], h[1], w, S, D, D, 0);
    CALL(linear_dgrad, h[0], h[1], w, S, D, D, 1);
    CALL(linear_dgrad_act, h[0], h[1], w, h[2], S, D, D, WAN_ACT_GELU_TANH);
    CALL(linear_dgrad_act, h[0], h[1], w, h[2], S, D, D, WAN_ACT_SILU);
    CALL(linear_wgrad, dw, z, h[0], h[1], S, D, D, 1);
    CALL(linear_wgrad, dw, NULL, h[0], h[1], S, D, D, 0);
    CALL(linear8_forward, h[0], none, h[1], w, gain, S, D, D, WAN_ACT_NONE);
    CALL(linear8_backward, h[0], dw, z, h[1], none, WAN_ACT_NONE, h[2], w, S, D, D, 0);
    CALL(linear8_backward, h[0], dw, z, h[1], h[2], WAN_ACT_GELU_TANH, h[2], w, S, D, D, 0);
    CALL(linear8_backward, h[0], dw, NULL, h[1], none, WAN_ACT_NONE, h[2], w, S, D, D, 0);
    wan_dev_still(emu, 1), wan_dev_still(dry, 1);
    CALL(linear8_forward, h[0], none, h[1], w, gain, S, D, D,
         WAN_ACT_NONE); /* weights are rounded here */
    CALL(linear8_forward, h[0], none, h[1], w, gain, S, D, D, WAN_ACT_NONE);
    CALL(linear8_backward, h[0], dw, z, h[1], none, WAN_ACT_NONE, h[2], w, S, D, D, 0);
    wan_dev_still(emu, 0), wan_dev_still(dry, 0);
}

static void attention(void)
{
    const wan_attn self = { &pack, &pack, HEADS, D / HEADS, 0.1, D, D, D, D, NULL };
    const wan_attn cross = { &pack, &text, HEADS, D / HEADS, 0.1, D, D, D, D, gain };
    wan_real *lse = reals(HEADS * S), *lse2 = reals(HEADS * S);
    wan_buf k = half(2 * TEXT * D), v = half(2 * TEXT * D), dk = half(S * D), dv = half(S * D);
    CALL(attention_forward, &self, h[0], lse, h[1], h[2], h[3]);
    CALL(attention_backward, &self, h[0], dk, dv, h[1], h[2], lse, h[1], h[2], h[3]);
    CALL(attention_forward, &cross, h[0], lse, h[1], k, v);
    CALL(attention_backward, &cross, h[0], dk, dv, h[1], h[2], lse, h[1], k, v);
    CALL(attention_merge, &self, h[0], lse, h[1], lse2);
    const wan_attn t5 = { &text, &text, HEADS, D / HEADS, 1, D, D, D, D, NULL };
    CALL(attention_t5, &t5, h[0], h[1], k, v, gain);
}

static void ends(void)
{
    const int64_t C = 16, T = 2, side = 32, R = 6;
    const wan_noise a = { C, T, side, side, { 0.5, 0.5 }, { -1, 1 }, WAN_PATCH_CHW, WAN_PATCH_HWC };
    const wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, 0);
    const wan_view to = { h[0], D, 1 }, from = { h[1], D, 1 };
    int32_t *id = take(WAN_I32, S).p, each[S];
    for (int i = 0; i < S; i++)
        each[i] = i;
    must(wan_dev_write(emu, id, each, sizeof each));
    CALL(patchify, h[0], x, C, T, side, side, WAN_PATCH_CHW);
    CALL(unpatchify, y, WAN_RBUF(x), C, T, side, side, WAN_PATCH_HWC);
    CALL(noise_patch, &a, h[0], y, x, NULL, &r);
    CALL(mse_loss, mean, h[0], x, y, gain, &pack, F);
    CALL(gather_add, y, x, id, S, D);
    CALL(pick, to, from, NULL, S, D);
    CALL(sinusoid, x, mean, S, D);
    CALL(modulation_forward, y, gain, x, 16, R, D, R);
    CALL(modulation_backward, z, y, x, 16, R, D, R);
}

static void vae(void)
{
    const int64_t C = 16, T = 3, side = 32, P = T * side * side;
    wan_conv c = { C, C, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, T + 2, side, side, 0, 0 };
    wan_buf w = half(27 * C * C);
    uint8_t *rgb = take(WAN_U8, 3 * P).p;
    CALL(conv_forward, &c, h[0], h[1], w, gain, 0);
    c.T = 1, c.past = 2; /* of a first frame: two of three taps are nothing */
    CALL(conv_forward, &c, h[0], h[1], w, gain, 1);
    CALL(vae_norm, h[0], h[1], gain, P, C, WAN_ACT_SILU);
    CALL(vae_interleave, h[0], h[1], T - 1, side * side, C);
    CALL(vae_from_rgb, h[0], rgb, P);
    CALL(vae_to_rgb, rgb, h[0], P);
    CALL(vae_to_cfirst, y, h[0], gain, gain, T, side * side, C);
    CALL(vae_to_clast, h[0], y, gain, gain, T, side * side, C);
}

/* Our kernels in place of cuDNN's: whole blocks of positions, rows and channels, each operand of a convolution for
 * several of them. */
static void own(void)
{
    static const int64_t len[2] = { 256, S - 256 };
    wan_pack even;
    must(wan_pack_new(emu, &even, len, 2));
    const wan_attn self = { &even, &even, HEADS, D / HEADS, 0.1, D, D, D, D, NULL };
    const wan_conv c = { 64, 384, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 16, 16, 0, 0 };
    wan_conv wide = c;
    wan_real *lse = reals(HEADS * S);
    wan_buf w = half(9 * c.Ci * c.Co), q = half(S * D), k = half(S * D), v = half(S * D);
    wan_buf dk = half(S * D), dv = half(S * D);
    emu->flags |= WAN_DEV_OWN, dry->flags |= WAN_DEV_OWN;
    CALL(attention_backward, &self, h[0], dk, dv, h[1], h[2], lse, q, k, v);
    CALL(conv_forward, &c, h[0], h[1], w, gain, 0);
    wide.up = 1;
    CALL(conv_forward, &wide, h[0], h[1], w, gain, 1);
    emu->flags &= ~WAN_DEV_OWN, dry->flags &= ~WAN_DEV_OWN;
    wan_pack_free(emu, &even);
}

/* A row that is longer than a block has threads for is read once for its sum and once for its result. */
static void twice(void)
{
    const int64_t wide = 5136, rows = 16;
    wan_rms a = wan_rms_of(rows, wide, 1e-6);
    const emu_moved was = counted();
    emu_moved m;
    wan_real *w = reals(wide);
    trace(1, NULL);
    must(emu->ops->rmsnorm_forward(emu, &a, h[0], rstd, h[1], w));
    trace(0, &m);
    must(dry->ops->rmsnorm_forward(dry, &a, h[0], rstd, h[1], w));
    emu_moved is = counted(), floor = { .read = is.read - was.read };
    ok(off(&m, &floor) > 0.4, "a row that is read twice is noticed: %+.1f %%",
       100 * off(&m, &floor));
}

/* Where there is no cuDNN a convolution of ours takes frames that are to be enlarged as they are. */
static void plain(void)
{
    const wan_conv c = { 64, 384, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 16, 16, 0, 1 };
    const wan_buf w = half(9 * c.Ci * c.Co);
    CALL(conv_forward, &c, h[0], h[1], w, gain, 0);
}

int main(void)
{
    static const int64_t len[2] = { 300, S - 300 }, rows[2] = { TEXT, TEXT };
    const char *path = getenv("WAN_CUDA_PLUGIN");
    void *so = path ? dlopen(path, RTLD_LAZY) : NULL, *fn = so ? dlsym(so, "emu_trace") : NULL;
    if (!fn) {
        tap_skip("bytes that ops move", "the kernels do not tell: make check-emu has some that do");
        return tap_done();
    }
    memcpy(&trace, &fn, sizeof trace);
    must(wan_dev_open(&emu, "cuda", 0));
    must(wan_dev_open(&dry, "dry", 0));
    must(wan_pack_new(emu, &pack, len, 2));
    must(wan_pack_new(emu, &text, rows, 2));
    x = reals(EACH), y = reals(EACH), z = reals(EACH), mean = reals(S), rstd = reals(S);
    gain = reals(96 * D);
    for (int i = 0; i < 4; i++)
        h[i] = half(EACH);
    if (getenv("WAN_EMU_FAULT")) {
        plain();
        return tap_done();
    }
    elementwise();
    norms();
    products();
    attention();
    ends();
    vae();
    own();
    twice();
    return tap_done();
}
