/* SPDX-License-Identifier: Apache-2.0
 *
 * space.h - bytes of work space that CUDA ops ask for: the formulas stand here once, for the ops and for
 * those who reserve it before the first step (lib/train/plan.c), so that no step allocates.  Also C++.
 */
#ifndef WAN_KERNELS_SPACE_H
#define WAN_KERNELS_SPACE_H

#include <stddef.h>
#include <stdint.h>

/* Scores of the deterministic backward of attention are kept for as many heads at a time as fit into this,
 * at least one; cuBLASLt and what it reads a bias from have a block of their own. */
#define WAN_SPACE_SCORES ((int64_t)3 << 30)
/* What a graph of cuDNN's asks for beside them: 256 bytes, or 128 for each multiprocessor and 256 (9.19). */
#define WAN_SPACE_GRAPH ((int64_t)64 << 10)
#define WAN_SPACE_PRODUCTS ((int64_t)65 << 20)
/* What is on its way to the device (device.cu): a few micro-batches. */
#define WAN_SPACE_RING (32 << 20)
/* Tokens (of a residual and its norm), and elements, that one block sums; others then add up the sums of blocks. */
enum { WAN_SPACE_TOKENS = 256, WAN_SPACE_SEAM = 64, WAN_SPACE_ELEMENTS = 16384 };

/* The largest micro-batch that will come, and the widths of the model on this rank. */
typedef struct wan_space {
    int64_t tokens, longest; /* of the pack, of one sample */
    int64_t samples;
    int64_t text_len; /* rows of a sample's text */
    int64_t heads, head_dim;
    int64_t width, columns; /* of the stream; of the widest matrix that has a bias gradient */
    int64_t elements;       /* of the longest vector that is summed */
    int64_t widened;        /* elements of bf16 operands beside fp32 ones */
    int bf16, any_order;    /* operands of attention; sums of its backward */
    int two_passes;         /* that of self-attention, in heads of 64 and 128, keeps no scores */
    int forward;            /* there is no backward */
} wan_space;

static inline int64_t wan_space_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* An upper bound of n rows, one of eight to sixteen per power of two: shapes recur. */
static inline int64_t wan_space_bound(int64_t n)
{
    int64_t step = 128;
    while (16 * step <= n)
        step *= 2;
    return wan_space_up(n, step);
}

/* One head's scores of b samples in bf16. */
static inline int64_t wan_space_scores(int64_t b, int64_t sq, int64_t sk)
{
    return b * wan_space_up(sq, 128) * wan_space_up(sk, 128) * 2;
}

/* Whether samples of S rows in all are one graph that is as long as the longest for each of them: else one
 * after the other, because one long and many short ones would be mostly padding. */
static inline int wan_space_together(int64_t n, int64_t longest, int64_t S)
{
    return n == 1 || n * wan_space_bound(longest) <= 2 * S + 128 * n;
}

/* Most of n * bound(longest) in one graph. */
static inline int64_t wan_space_rows(const wan_space *s)
{
    int64_t one = wan_space_bound(s->longest), all = 2 * s->tokens + 128 * s->samples;
    return s->samples == 1 || one > all ? one : all;
}

static inline int64_t wan_space_attention(const wan_space *s)
{
    const int none = s->two_passes && (s->head_dim == 64 || s->head_dim == 128);
    const int64_t longest = wan_space_bound(s->longest > s->text_len ? s->longest : s->text_len);
    const int64_t rows = wan_space_rows(s), keys = none ? wan_space_bound(s->text_len) : longest;
    int64_t scores = s->heads * rows * keys * 2, bytes = WAN_SPACE_GRAPH + 8192;
    if (!s->bf16)
        return s->heads * s->tokens * 4;
    if (scores > WAN_SPACE_SCORES)
        scores = WAN_SPACE_SCORES;
    if (scores < longest * keys * 2)
        scores = longest * keys * 2;
    bytes += 24 * (s->samples + 1) + s->samples * wan_space_bound(s->text_len) * 4;
    bytes += 2 * rows * s->heads * 4; /* statistics and row sums of the backward */
    if (s->forward)
        return bytes;
    return bytes + (s->any_order ? rows * s->heads * s->head_dim * 4 : scores);
}

/* `sums` column sums of blocks of tokens. */
static inline int64_t wan_space_columns(int64_t sums, int64_t chunks, int64_t columns)
{
    return sums * chunks * columns * 4;
}

/* What no op goes beyond. */
static inline int64_t wan_space_most(const wan_space *s)
{
    const int64_t chunks = s->tokens / WAN_SPACE_TOKENS + s->samples;
    const int64_t needs[] = { wan_space_attention(s),
                              wan_space_columns(2, chunks, s->width),
                              wan_space_columns(3, s->tokens / WAN_SPACE_SEAM + s->samples,
                                                s->width),
                              wan_space_columns(1, chunks, s->columns),
                              s->tokens * 8,
                              (s->elements / WAN_SPACE_ELEMENTS + 1) * 8,
                              s->widened * 4 + 1024 };
    int64_t most = needs[0];
    for (size_t i = s->forward ? 4 : 0; i < sizeof needs / sizeof *needs; i++)
        most = needs[i] > most ? needs[i] : most;
    return most;
}

#endif
