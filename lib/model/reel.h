/* SPDX-License-Identifier: Apache-2.0
 *
 * reel.h - work that is the same again and again, done from a recording (wan_dev_record): the same ops on the same
 * memory with the same numbers, so the same bytes.
 *
 *     wan_reel r = { 0 };
 *     wan_reel_open(&r, d);                                  // without it all work is run
 *     WAN_TRY(wan_reel_play(&r, key, sizeof key, work, arg));   // key: every number that work gives to ops
 *     wan_reel_close(&r);
 *
 * What a key comes with for the first time is run: plans are made and work space grows.  The second time in a row it is
 * recorded, and done from there on by one call, until another key comes.  The work leaves nothing on the host.
 */
#ifndef WAN_MODEL_REEL_H
#define WAN_MODEL_REEL_H

#include "kernels/device.h"

enum { WAN_REEL_KEY = 32 }; /* bytes */

typedef int wan_reel_fn(void *arg);

typedef struct wan_reel {
    wan_dev *d; /* NULL: nothing is recorded */
    wan_tape *tape;
    int seen; /* key has come */
    unsigned char key[WAN_REEL_KEY];
    const void *scratch, *aside; /* the work space that it came with */
    int64_t replays;
} wan_reel;

/* From here on work is recorded, where the device can. */
void wan_reel_open(wan_reel *r, wan_dev *d);
void wan_reel_close(wan_reel *r); /* waits for the device where there is a recording */
/* fn(arg) is done; key: `bytes` of at most WAN_REEL_KEY, without padding. */
int wan_reel_play(wan_reel *r, const void *key, size_t bytes, wan_reel_fn *fn, void *arg)
    WAN_MUST_CHECK;

#endif
