/* SPDX-License-Identifier: Apache-2.0
 *
 * check_resample.c - every filter against OpenCV's resize (tests/data/ref/resize), at most 1 of 255
 * apart; the nearest pixel is the same.
 */
#include "lib/media/resample.h"
#include "lib/rec/tensor/safetensors.h"
#include "tests/refs.h"
#include "tests/tap.h"

static const struct {
    const char *name;
    enum wan_taps taps, grow; /* grow: where an axis is made larger */
    int most;
} filters[] = {
    { "linear", WAN_TAPS_LINEAR, WAN_TAPS_LINEAR, 1 },
    { "cubic", WAN_TAPS_CUBIC, WAN_TAPS_CUBIC, 1 },
    { "nearest", WAN_TAPS_NEAREST, WAN_TAPS_NEAREST, 0 },
    { "area", WAN_TAPS_AREA, WAN_TAPS_AREA_GROW, 1 },
    { "lanczos", WAN_TAPS_LANCZOS, WAN_TAPS_LANCZOS, 1 },
};

/* The largest difference of the picture scaled by us and by OpenCV; -1: no room. */
static int apart(const wan_st_tensor *src, const wan_st_tensor *want, int filter)
{
    int sh = (int)src->shape[0], sw = (int)src->shape[1], h = (int)want->shape[0],
        w = (int)want->shape[1], worst = 0;
    enum wan_taps t = h > sh || w > sw ? filters[filter].grow : filters[filter].taps;
    uint8_t *got = malloc(want->bytes);
    const uint8_t *right = want->data;
    wan_resample *r;
    if (!got || wan_resample_open(&r, h, w, t, sh, sw, t, 3) < 0)
        return free(got), -1;
    wan_resample_run(r, got, w * 3, src->data, sw * 3);
    wan_resample_close(&r);
    for (size_t i = 0; i < want->bytes; i++)
        worst = abs(got[i] - right[i]) > worst ? abs(got[i] - right[i]) : worst;
    free(got);
    return worst;
}

int main(void)
{
    wan_st *st;
    wan_resample *r;
    char path[1024], source[64];
    snprintf(path, sizeof path, "%s/resize/out.safetensors", REFS_SMALL);
    if (!ok(wan_st_open(&st, path) == 0, "%s", path))
        return tap_done();
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *want = wan_st_at(st, i);
        for (int f = 0; f < 5; f++) {
            size_t n = strlen(filters[f].name);
            if (strncmp(want->name, filters[f].name, n))
                continue;
            snprintf(source, sizeof source, "source%.*s", (int)strcspn(want->name + n + 1, ".") + 1,
                     want->name + n);
            const wan_st_tensor *src = wan_st_find(st, source);
            int worst = src ? apart(src, want, f) : -1;
            ok(worst >= 0 && worst <= filters[f].most, "%s: %d of 255", want->name, worst);
        }
    }
    ok(wan_resample_open(&r, 0, 4, WAN_TAPS_AREA, 4, 4, WAN_TAPS_AREA, 3) < 0 && !r, "no size");
    wan_st_close(&st);
    return tap_done();
}
