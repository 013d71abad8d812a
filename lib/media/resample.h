/* SPDX-License-Identifier: Apache-2.0
 *
 * resample.h - pictures of bytes to another size, axis by axis, with the filters of OpenCV's resize.
 *
 *     wan_resample *r;
 *     wan_resample_open(&r, 240, 416, WAN_TAPS_CUBIC, 1080, 1920, WAN_TAPS_CUBIC, 3);
 *     wan_resample_run(r, dst, 416 * 3, src, 1920 * 3);
 *     wan_resample_close(&r);
 *
 * Centres of pixels stand on centres: target i is at (i + 1/2) * source / target - 1/2.  The filters
 * but AREA have the same width at any scale, so that a smaller picture has aliases.
 */
#ifndef WAN_MEDIA_RESAMPLE_H
#define WAN_MEDIA_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum wan_taps {
    WAN_TAPS_NEAREST,   /* floor(i * source / target) */
    WAN_TAPS_LINEAR,    /* 2 taps */
    WAN_TAPS_CUBIC,     /* 4 taps, Keys' kernel with a = -3/4 */
    WAN_TAPS_LANCZOS,   /* 8 taps, sinc(d) sinc(d / 4), sum 1 */
    WAN_TAPS_AREA,      /* the mean of what the target pixel covers */
    WAN_TAPS_AREA_GROW, /* sharp pixels with a linear seam: OpenCV's INTER_AREA when it enlarges */
};

typedef struct wan_resample wan_resample;

/* Source [sh, sw, channels] to target [dh, dw, channels]; a filter for each axis. */
int wan_resample_open(wan_resample **out, int dh, int dw, enum wan_taps vertical, int sh, int sw,
                      enum wan_taps horizontal, int channels) WAN_MUST_CHECK;
/* Lines are to_line and from_line bytes apart; the two may not overlap. */
void wan_resample_run(wan_resample *r, uint8_t *dst, ptrdiff_t to_line, const uint8_t *src,
                      ptrdiff_t from_line);
void wan_resample_close(wan_resample **r); /* NULL-safe */

#endif
