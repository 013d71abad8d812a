/* SPDX-License-Identifier: Apache-2.0
 *
 * reel.c - see reel.h.
 */
#include "lib/model/reel.h"

#include <string.h>

#include "lib/base/log.h"

void wan_reel_open(wan_reel *r, wan_dev *d)
{
    if (wan_dev_records(d))
        r->d = d;
}

static void forget(wan_reel *r)
{
    if (r->tape)
        wan_dev_unrecord(r->d, &r->tape);
    r->seen = 0;
}

void wan_reel_close(wan_reel *r)
{
    forget(r);
    r->d = NULL;
}

/* Whether what was seen last is what comes now. */
static int same(const wan_reel *r, const void *key, size_t bytes)
{
    return r->seen && !memcmp(r->key, key, bytes) && r->scratch == r->d->scratch &&
           r->aside == r->d->aside;
}

static int record(wan_reel *r, wan_reel_fn *fn, void *arg)
{
    WAN_TRY(wan_dev_record(r->d));
    const int rc = fn(arg);
    return wan_dev_recorded(r->d, rc < 0 ? NULL : &r->tape);
}

int wan_reel_play(wan_reel *r, const void *key, size_t bytes, wan_reel_fn *fn, void *arg)
{
    if (bytes > sizeof r->key)
        WAN_BUG("a key of %zu bytes", bytes);
    if (!r->d)
        return fn(arg);
    if (!same(r, key, bytes)) {
        forget(r);
        WAN_TRY(fn(arg));
        memcpy(r->key, key, bytes);
        r->scratch = r->d->scratch;
        r->aside = r->d->aside;
        r->seen = 1;
        return 0;
    }
    if (!r->tape && record(r, fn, arg) < 0) {
        wan_warn("an update is not recorded: %s", wan_err_text());
        wan_reel_close(r);
        return fn(arg); /* nothing of it was done, and it may be all right */
    }
    r->replays++;
    return wan_dev_replay(r->d, r->tape);
}
