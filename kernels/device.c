/* SPDX-License-Identifier: Apache-2.0
 *
 * device.c - an open device: its memory and its packs.  Knows no op and no provider.
 */
#include "kernels/device.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/device_in.h"

/* What the public struct does not show: who owns which bytes. */
typedef struct host_dev {
    wan_dev pub; /* first: a wan_dev * is a host_dev * */
    struct block {
        void *p;
        size_t bytes;
        const char *what;
        int far; /* in host memory */
    } * blocks;
    size_t n, cap;
    int fars; /* of them, so many */
} host_dev;

wan_dev *wan_dev_new(int flags)
{
    host_dev *h = (host_dev *)calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->pub.flags = flags;
    return &h->pub;
}

void wan_dev_drop(wan_dev *d)
{
    free(d);
}

static void give_back(host_dev *h, const struct block *b)
{
    wan_dev *d = &h->pub;
    if (!b->far || !d->backend->bus) {
        d->backend->free(d, b->p);
        return;
    }
    if (wan_dev_meet(d, WAN_HOST_AFTER_COPIES) == 0 && wan_dev_pin(d, b->p, b->bytes, 0) == 0)
        free(b->p); /* else the device may still read it */
}

void wan_dev_close(wan_dev **d)
{
    if (!d || !*d)
        return;
    host_dev *h = (host_dev *)*d;
    for (size_t i = 0; i < h->n; i++)
        give_back(h, &h->blocks[i]);
    h->pub.backend->close(&h->pub);
    free(h->blocks);
    free(h);
    *d = NULL;
}

/* ---- memory */

/* Remembers a block; -1: out of host memory. */
static int block_add(host_dev *h, void *p, size_t bytes, const char *what, int far)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? 2 * h->cap : 64;
        struct block *b = (struct block *)realloc(h->blocks, cap * sizeof *b);
        if (!b)
            return -1;
        h->blocks = b;
        h->cap = cap;
    }
    h->blocks[h->n++] = (struct block){ p, bytes, what, far };
    h->fars += far;
    *(far ? &h->pub.far : &h->pub.allocated) += bytes;
    if (h->pub.allocated > h->pub.peak)
        h->pub.peak = h->pub.allocated;
    return 0;
}

void *wan_dev_alloc(wan_dev *d, size_t bytes, const char *what)
{
    void *p = d->backend->alloc(d, bytes);
    if (p && block_add((host_dev *)d, p, bytes, what, 0) == 0)
        return p;
    if (p)
        d->backend->free(d, p);
    else if (d->backend->sync(d) < 0) /* a kernel failed before: that is the reason */
        return NULL;
    wan_err("%s: out of %s memory: %.1f MB wanted, %.1f MB in use", what, d->backend->name,
            (double)bytes / 1e6, (double)d->allocated / 1e6);
    return NULL;
}

/* *refused: there is memory, which cannot be pinned, as was asked for (error recorded). */
static void *far_memory(wan_dev *d, size_t bytes, int *refused)
{
    void *p = NULL;
    if (!d->backend->bus)
        return d->backend->alloc(d, bytes);
    if (posix_memalign(&p, 4096, bytes ? bytes : 1))
        return NULL;
    *refused = wan_dev_pin(d, p, bytes, 1) < 0;
    if (!*refused)
        return p;
    free(p);
    return NULL;
}

void *wan_dev_alloc_far(wan_dev *d, size_t bytes, const char *what)
{
    int refused = 0;
    const struct block b = { far_memory(d, bytes, &refused), bytes, what, 1 };
    if (b.p && block_add((host_dev *)d, b.p, bytes, what, 1) == 0)
        return b.p;
    if (refused)
        return wan_err_prefix("%s", what), NULL;
    if (b.p)
        give_back((host_dev *)d, &b);
    wan_err("%s: out of host memory: %.1f MB wanted, %.1f MB in use", what, (double)bytes / 1e6,
            (double)d->far / 1e6);
    return NULL;
}

int wan_dev_is_far(const wan_dev *d, const void *p)
{
    const host_dev *h = (const host_dev *)d;
    for (size_t i = 0; h->fars && i < h->n; i++) {
        const struct block *b = &h->blocks[i];
        if (b->far && (const char *)p >= (const char *)b->p &&
            (const char *)p < (const char *)b->p + b->bytes)
            return 1;
    }
    return 0;
}

/* Whether p is host memory of the device's that the host itself reads or writes now. */
static int at_hand(wan_dev *d, const void *p, int *rc)
{
    if (!d->backend->bus || !wan_dev_is_far(d, p))
        return 0;
    *rc = wan_dev_meet(d, WAN_HOST_AFTER_COPIES);
    return 1;
}

void wan_dev_free(wan_dev *d, void *p)
{
    host_dev *h = (host_dev *)d;
    if (!p)
        return;
    for (size_t i = h->n; i-- > 0;) /* the newest first: most frees undo a recent alloc */
        if (h->blocks[i].p == p) {
            const struct block b = h->blocks[i];
            *(b.far ? &d->far : &d->allocated) -= b.bytes;
            h->fars -= b.far;
            h->blocks[i] = h->blocks[--h->n];
            give_back(h, &b);
            return;
        }
    WAN_BUG("wan_dev_free: not a block of this device");
}

void wan_dev_each(wan_dev *d, void (*fn)(void *arg, const char *what, size_t bytes), void *arg)
{
    const host_dev *h = (const host_dev *)d;
    for (size_t i = 0; i < h->n; i++)
        if (!h->blocks[i].far)
            fn(arg, h->blocks[i].what, h->blocks[i].bytes);
}

int wan_dev_write(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    int rc = 0;
    if (!at_hand(d, dst, &rc))
        return d->backend->write(d, dst, host, bytes);
    if (rc == 0)
        memcpy(dst, host, bytes);
    return rc;
}

int wan_dev_read(wan_dev *d, void *host, const void *src, size_t bytes)
{
    int rc = 0;
    if (!at_hand(d, src, &rc))
        return d->backend->read(d, host, src, bytes);
    if (rc == 0)
        memcpy(host, src, bytes);
    return rc;
}

int wan_dev_copy(wan_dev *d, void *dst, const void *src, size_t bytes)
{
    int rc = 0;
    if (at_hand(d, src, &rc))
        return rc < 0 ? -1 : wan_dev_write(d, dst, src, bytes);
    if (at_hand(d, dst, &rc))
        return rc < 0 ? -1 : d->backend->read(d, dst, src, bytes);
    return d->backend->copy(d, dst, src, bytes);
}

int wan_dev_zero(wan_dev *d, void *p, size_t bytes)
{
    int rc = 0;
    if (!at_hand(d, p, &rc))
        return d->backend->zero(d, p, bytes);
    if (rc == 0)
        memset(p, 0, bytes);
    return rc;
}

int wan_dev_sync(wan_dev *d)
{
    return d->backend->sync(d);
}

int wan_dev_fetches(const wan_dev *d)
{
    return d->backend->fetch != NULL;
}

int wan_dev_fetch(wan_dev *d, size_t at, const void *src, size_t bytes)
{
    if (!wan_dev_fetches(d) || at + bytes > WAN_DEV_SLOT)
        WAN_BUG("a fetch of %zu bytes to %zu", bytes, at);
    return d->backend->fetch(d, at, src, bytes);
}

const void *wan_dev_fetched(wan_dev *d)
{
    return d->backend->fetched(d);
}

/* *room grown to so many bytes. */
static void *room(wan_dev *d, void **at, size_t *have, size_t bytes, const char *what)
{
    bytes = bytes ? bytes : 1; /* of an op on no rows */
    if (bytes <= *have)
        return *at;
    if (d->backend->sync(d) < 0) /* the op before may still use the old one */
        return NULL;
    wan_dev_free(d, *at);
    *have = 0;
    *at = wan_dev_alloc(d, bytes, what);
    if (*at)
        *have = bytes;
    return *at;
}

int wan_dev_send(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    const wan_bus *b = d->backend->bus;
    return !bytes ? 0 : b ? b->send(d, dst, host, bytes) : wan_dev_write(d, dst, host, bytes);
}

int wan_dev_bring(wan_dev *d, void *host, const void *src, size_t bytes)
{
    const wan_bus *b = d->backend->bus;
    return !bytes ? 0 : b ? b->bring(d, host, src, bytes) : wan_dev_read(d, host, src, bytes);
}

int wan_dev_meet(wan_dev *d, enum wan_meet what)
{
    return d->backend->bus ? d->backend->bus->meet(d, what) : 0;
}

int wan_dev_pin(wan_dev *d, void *host, size_t bytes, int on)
{
    return d->backend->bus && bytes ? d->backend->bus->pin(d, host, bytes, on) : 0;
}

int wan_dev_records(const wan_dev *d)
{
    return d->backend->recorder != NULL;
}

int wan_dev_record(wan_dev *d)
{
    if (!wan_dev_records(d))
        return wan_err("%s: work is not kept on this device", d->backend->name);
    return d->backend->recorder->record(d);
}

int wan_dev_recorded(wan_dev *d, wan_tape **t)
{
    if (t)
        *t = NULL;
    return d->backend->recorder->recorded(d, t);
}

int wan_dev_replay(wan_dev *d, wan_tape *t)
{
    return d->backend->recorder->replay(d, t);
}

void wan_dev_unrecord(wan_dev *d, wan_tape **t)
{
    if (*t)
        d->backend->recorder->drop(d, *t);
    *t = NULL;
}

void wan_dev_still(wan_dev *d, enum wan_still how)
{
    d->still = how == WAN_STILL_NOT ? 0 : ++d->stills;
    d->still_forward = how == WAN_STILL_FORWARD;
}

int wan_dev_renew(wan_dev *d, const void *w, size_t bytes)
{
    return d->still && d->backend->keeper ? d->backend->keeper->renew(d, w, bytes) : 0;
}

void wan_dev_forget(wan_dev *d)
{
    wan_dev_still(d, WAN_STILL_NOT);
    if (d->backend->keeper)
        d->backend->keeper->forget(d);
}

void *wan_dev_scratch(wan_dev *d, size_t bytes)
{
    return room(d, &d->scratch, &d->scratch_bytes, bytes, "kernel workspace");
}

void *wan_dev_aside(wan_dev *d, size_t bytes)
{
    return room(d, &d->aside, &d->aside_bytes, bytes, "operands of eight bits");
}

/* ---- packs */

static int pack_lengths(const int64_t *len, int n, int64_t *S)
{
    *S = 0;
    if (n < 1)
        return wan_err("pack: %d samples", n);
    for (int i = 0; i < n; i++) {
        if (len[i] < 0)
            return wan_err("pack: sample %d has %lld tokens", i, (long long)len[i]);
        if (len[i] > INT32_MAX - *S)
            return wan_err("pack: more than %d tokens up to sample %d", INT32_MAX, i);
        *S += len[i];
    }
    return 0;
}

int wan_pack_new(wan_dev *d, wan_pack *p, const int64_t *len, int n)
{
    int64_t S;
    memset(p, 0, sizeof *p);
    WAN_TRY(pack_lengths(len, n, &S));
    size_t words = (size_t)n + 1 + (size_t)S;
    int32_t *host = (int32_t *)malloc(words * sizeof *host);
    int32_t *dev = (int32_t *)wan_dev_alloc(d, words * sizeof *dev, "pack");
    if (!host || !dev)
        goto fail;
    int32_t *seg = host + n + 1;
    host[0] = 0;
    for (int i = 0; i < n; i++) {
        host[i + 1] = host[i] + (int32_t)len[i];
        for (int32_t s = host[i]; s < host[i + 1]; s++)
            seg[s] = i;
        if (len[i] > p->max_len)
            p->max_len = len[i];
    }
    WAN_GOTO(wan_dev_write(d, dev, host, words * sizeof *dev), fail);
    WAN_GOTO(wan_dev_sync(d), fail);
    p->n = n;
    p->S = S;
    p->cu = dev;
    p->seg = dev + n + 1;
    p->cu_host = host;
    return 0;
fail:
    if (!host)
        wan_err("pack: out of memory");
    wan_dev_free(d, dev);
    free(host);
    memset(p, 0, sizeof *p);
    return -1;
}

void wan_pack_free(wan_dev *d, wan_pack *p)
{
    wan_dev_free(d, (void *)(uintptr_t)p->cu);
    free((void *)(uintptr_t)p->cu_host);
    memset(p, 0, sizeof *p);
}
