/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.h - which frames of a clip, or of one scene of it, become records.
 */
#ifndef WAN_MEDIA_PIECES_H
#define WAN_MEDIA_PIECES_H

#include <stdint.h>

#include "lib/base/err.h"

enum wan_take {
    WAN_TAKE_FIRST,
    WAN_TAKE_MIDDLE,
    WAN_TAKE_EVERY, /* one behind the other */
    WAN_TAKE_SLIDE, /* a stride apart */
    WAN_TAKE_EVEN   /* evenly over all of it: numpy.linspace(0, n - length, k), rounded down */
};

enum { WAN_LENGTHS = 64 };

typedef struct wan_pieces {
    enum wan_take take;
    int64_t frames; /* of a piece; 0: all there are (first) */
    int64_t stride; /* slide; 0: half of a piece */
    int64_t most;   /* pieces; even: exactly these; 0: as many as there are, or cover the clip */
    int64_t least;  /* frames of a piece */
    int64_t length[WAN_LENGTHS]; /* ascending: a piece has the longest of these that it can */
    int n_lengths;               /* 0: any length up to `frames` */
} wan_pieces;

/* Reads "17,33,81" into length. */
int wan_pieces_parse(wan_pieces *p, const char *text) WAN_MUST_CHECK;
/* Frames of each piece of n frames; 0: there is none in so few. */
int64_t wan_pieces_length(const wan_pieces *p, int64_t n);
/* How many, and where number i (from 0) begins: ascending, each once. */
int64_t wan_pieces_count(const wan_pieces *p, int64_t n, int64_t length);
int64_t wan_pieces_at(const wan_pieces *p, int64_t n, int64_t length, int64_t i);
/* Whether more than the first `frames` of a clip are needed. */
int wan_pieces_all(const wan_pieces *p);

/* The size for pictures of that shape under a budget of pixels, multiples of 16: of the aspects that
 * Automodel's table has (1:2 to 21:9) the nearest one (NeMo DFM, multi_tier_bucketing.py).  -1: the
 * budget is too small for any. */
int wan_pieces_size(int64_t max_pixels, int source_h, int source_w, int *h, int *w) WAN_MUST_CHECK;
/* Tokens of a piece, of 16 x 16 pixels and 4 frames each. */
int64_t wan_pieces_tokens(int64_t frames, int h, int w);

#endif
