/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.h - the demo's clips: what can be in one, its caption, and how it is drawn.
 *
 * The formula is written out in README.md; tiny_vae.py draws the same pixels.
 */
#ifndef WAN_TINY_CLIPS_H
#define WAN_TINY_CLIPS_H

#include <stdint.h>

enum { CLIP_SIZE = 64, CLIP_FRAMES = 9, CLIP_FPS = 16, CLIP_CAPTION = 96 };
enum {
    SHAPES = 3,
    COLOURS = 6,
    MOTIONS = 4,
    GROUNDS = 3,
    CLIPS = SHAPES * COLOURS * MOTIONS * GROUNDS
};

typedef struct tiny_named {
    const char *name;
    uint8_t rgb[3];
} tiny_named;

typedef struct tiny_motion {
    const char *name;    /* in file names */
    const char *caption; /* after "moves " */
    int x, y;            /* direction on the screen, y down */
} tiny_motion;

static const char *const tiny_shapes[SHAPES] = { "circle", "square", "triangle" };
static const tiny_named tiny_colours[COLOURS] = {
    { "red", { 220, 40, 40 } },     { "green", { 40, 180, 60 } },    { "blue", { 50, 80, 230 } },
    { "yellow", { 235, 215, 50 } }, { "magenta", { 215, 60, 210 } }, { "white", { 240, 240, 240 } },
};
static const tiny_motion tiny_motions[MOTIONS] = {
    { "left", "to the left", -1, 0 },
    { "right", "to the right", 1, 0 },
    { "up", "up", 0, -1 },
    { "down", "down", 0, 1 },
};
static const tiny_named tiny_grounds[GROUNDS] = {
    { "black", { 20, 20, 20 } },
    { "grey", { 115, 115, 115 } },
    { "navy", { 16, 24, 84 } },
};

/* One combination; each field indexes its table above. */
typedef struct tiny_combo {
    int shape, colour, motion, ground;
} tiny_combo;

static inline tiny_combo tiny_combo_of(int index)
{
    tiny_combo c;
    c.ground = index % GROUNDS;
    index /= GROUNDS;
    c.motion = index % MOTIONS;
    index /= MOTIONS;
    c.colour = index % COLOURS;
    c.shape = index / COLOURS;
    return c;
}

/* Nobody trains on these 24 of the 216: every attribute has the same share of them. */
static inline int tiny_held_out(tiny_combo c)
{
    return (c.shape + 2 * c.colour + 3 * c.motion + 3 * c.ground) % 9 == 0;
}

#endif
