/* SPDX-License-Identifier: Apache-2.0
 *
 * device.h - a place to compute: memory, a stream of work, and the op table (ops.h).
 *
 *     wan_dev *d;
 *     wan_dev_open(&d, "auto", 0);                  // "auto", "cpu", "ref", "cuda", "cuda:1"
 *     float *x = wan_dev_alloc(d, n * sizeof *x, "x");
 *     wan_dev_write(d, x, host, n * sizeof *x);
 *     d->ops->fill(d, WAN_RBUF(x), 2, n);           // every op: 0, or -1 and a sentence
 *     wan_dev_read(d, host, x, n * sizeof *x);      // waits for the stream
 *
 * "ref" is the reference C provider alone, "cpu" adds oneDNN and vectorised C.  Work on one device
 * is in order; CUDA ops return before they have run.  One thread drives a device.
 * The CUDA provider is a plugin (libwan-cuda.so beside the tools, or in ../lib of them, or
 * WAN_CUDA_PLUGIN) opened with dlopen, so that nothing here needs CUDA to start.
 */
#ifndef WAN_KERNELS_DEVICE_H
#define WAN_KERNELS_DEVICE_H

#include "kernels/real.h"

typedef struct wan_dev wan_dev;
struct wan_ops;

enum wan_dev_kind { WAN_DEV_CPU = 0, WAN_DEV_CUDA = 1, WAN_DEV_DRY = 2 /* device_dry.h */ };

enum wan_dev_flags {
    /* an error instead of a warning where a slower way would be taken: no cuDNN, no tensor cores for
     * a shape, an engine without a fixed order, a GPU that "auto" cannot use */
    WAN_DEV_STRICT = 1,
    WAN_DEV_NONDETERMINISTIC = 2, /* faster kernels whose sums have no fixed order are allowed */
    WAN_DEV_OWN = 4, /* our kernels where a vendor's library has one too: to compare them */
    /* the backward of self-attention in two passes (attention_grad.cuh) where the ways say nothing of a shape */
    WAN_DEV_TWO_PASSES = 8,
};

/* What a backend has for copies beside the work (wan_dev_send and the next). */
typedef struct wan_bus {
    int (*send)(wan_dev *d, void *dst, const void *host, size_t bytes);
    int (*bring)(wan_dev *d, void *host, const void *src, size_t bytes);
    int (*meet)(wan_dev *d, int what);
    int (*pin)(wan_dev *d, void *host, size_t bytes, int on);
} wan_bus;

/* What a backend has for work that is kept and done again (wan_dev_record and the next). */
typedef struct wan_tape wan_tape;
typedef struct wan_recorder {
    int (*record)(wan_dev *d);
    int (*recorded)(wan_dev *d, wan_tape **t);
    int (*replay)(wan_dev *d, wan_tape *t);
    void (*drop)(wan_dev *d, wan_tape *t);
} wan_recorder;

/* What a backend keeps of weights that are still (wan_dev_still). */
typedef struct wan_keeper {
    int (*renew)(wan_dev *d, const void *w, size_t bytes);
    void (*forget)(wan_dev *d);
} wan_keeper;

/* What a backend provides; filled by the CPU code or the plugin. */
typedef struct wan_backend {
    const char *name; /* "cpu", "cuda" */
    int (*open)(wan_dev *d, int index);
    void (*close)(wan_dev *d);
    void *(*alloc)(wan_dev *d, size_t bytes); /* NULL: out of memory (error recorded) */
    void (*free)(wan_dev *d, void *p);
    int (*write)(wan_dev *d, void *dst, const void *host, size_t bytes);
    int (*read)(wan_dev *d, void *host, const void *src, size_t bytes); /* synchronous */
    int (*copy)(wan_dev *d, void *dst, const void *src, size_t bytes);  /* device to device */
    int (*zero)(wan_dev *d, void *p, size_t bytes);
    int (*sync)(wan_dev *d);
    /* free and total bytes of device memory */
    int (*memory)(wan_dev *d, size_t *free_bytes, size_t *total_bytes);
    /* "NVIDIA H100 80GB HBM3, GPU-..., driver ...": no two devices of a machine have the same */
    int (*describe)(wan_dev *d, char *text, size_t size);
    /* NULL where ops are done when they return (see wan_dev_fetch) */
    int (*fetch)(wan_dev *d, size_t at, const void *src, size_t bytes);
    const void *(*fetched)(wan_dev *d);
    const struct wan_bus *bus;           /* NULL: nothing runs beside the work */
    const struct wan_recorder *recorder; /* NULL: nothing can be kept */
    const struct wan_keeper *keeper;     /* NULL: nothing is made of weights */
} wan_backend;

struct wan_dev {
    const struct wan_ops *ops; /* every slot is callable */
    const wan_backend *backend;
    enum wan_dev_kind kind;
    int index;
    int flags;
    void *stream;  /* cudaStream_t; NULL on the CPU */
    void *impl;    /* provider's own state */
    void *scratch; /* grows to the largest request of any op, then stays */
    size_t scratch_bytes;
    void *aside; /* the same, of ops that are made of ops */
    size_t aside_bytes;
    size_t allocated, peak; /* bytes handed out by wan_dev_alloc */
    size_t far;             /* ... and by wan_dev_alloc_far */
    struct wan_ways *ways;  /* the caller's (ways.h); NULL: what a library proposes first */
    int64_t still,
        stills;        /* wan_dev_still: which time it is, 0: they are not; how many there were */
    int still_forward; /* WAN_STILL_FORWARD */
};

/* spec as above; flags from wan_dev_flags.  "cuda" on a machine without: -1 and a sentence that
 * says what is missing (plugin, driver, device).  "auto" then takes the CPU. */
int wan_dev_open(wan_dev **out, const char *spec, int flags) WAN_MUST_CHECK;
void wan_dev_close(wan_dev **d); /* NULL-safe; sets *d NULL */

/* 256-byte aligned (64 on the CPU), contents undefined; what names the buffer in the error. */
void *wan_dev_alloc(wan_dev *d, size_t bytes, const char *what);
void wan_dev_free(wan_dev *d, void *p); /* NULL-safe */
/* The same in host memory, pinned where it can be: ops cannot reach it, but the functions below take it as
 * device memory, wan_dev_send and wan_dev_bring as host memory, which copies of the others wait for. */
void *wan_dev_alloc_far(wan_dev *d, size_t bytes, const char *what);
int wan_dev_is_far(const wan_dev *d, const void *p);
/* Calls fn for every buffer that is handed out, but those in host memory. */
void wan_dev_each(wan_dev *d, void (*fn)(void *arg, const char *what, size_t bytes), void *arg);
int wan_dev_write(wan_dev *d, void *dst, const void *host, size_t bytes) WAN_MUST_CHECK;
int wan_dev_read(wan_dev *d, void *host, const void *src, size_t bytes) WAN_MUST_CHECK;
int wan_dev_copy(wan_dev *d, void *dst, const void *src, size_t bytes) WAN_MUST_CHECK;
int wan_dev_zero(wan_dev *d, void *p, size_t bytes) WAN_MUST_CHECK;
int wan_dev_sync(wan_dev *d) WAN_MUST_CHECK;
/* A read that nobody waits for yet: what src is by then goes to byte `at` of WAN_DEV_SLOT bytes of host memory,
 * which wan_dev_fetched gives once the last of them is there; NULL: failed. */
enum { WAN_DEV_SLOT = 256 << 10 };
int wan_dev_fetch(wan_dev *d, size_t at, const void *src, size_t bytes) WAN_MUST_CHECK;
const void *wan_dev_fetched(wan_dev *d);
/* Whether the device has them: its ops return before they have run. */
int wan_dev_fetches(const wan_dev *d);
/* Copies beside the work, between device memory and host memory that does not change meanwhile: sends in the
 * order in which they are asked for, and what is brought in its own; wan_dev_meet orders them and the work.  Where nothing runs beside anything,
 * all is done when the call returns. */
int wan_dev_send(wan_dev *d, void *dst, const void *host, size_t bytes) WAN_MUST_CHECK;
int wan_dev_bring(wan_dev *d, void *host, const void *src, size_t bytes) WAN_MUST_CHECK;
enum wan_meet {
    WAN_COPIES_AFTER_WORK, /* copies from here on begin when the work asked for so far is done */
    WAN_WORK_AFTER_COPIES, /* the other way round */
    WAN_HOST_AFTER_COPIES, /* this call returns when they are done */
    WAN_SENDS_AFTER_BRINGS /* sends from here on begin when all that was asked for is brought */
};
int wan_dev_meet(wan_dev *d, enum wan_meet what) WAN_MUST_CHECK;
/* Pins host memory, which copies need to run beside the work, or lets it go (on 0). */
int wan_dev_pin(wan_dev *d, void *host, size_t bytes, int on) WAN_MUST_CHECK;
/* Ops, copies and clears that are asked for between record and recorded are not done but kept, and done by every
 * replay, in order: the same ops on the same memory, with the numbers that they were given, for what one call
 * costs the host.  Nothing else may be asked for meanwhile: no memory, no copy from or to the host, no wait (-1; the
 * tape is lost, and recorded says so).  Work space must have grown before. */
int wan_dev_records(const wan_dev *d); /* whether the device can */
int wan_dev_record(wan_dev *d) WAN_MUST_CHECK;
/* *t NULL on failure; t NULL: an op has failed, whose sentence stays (-1). */
int wan_dev_recorded(wan_dev *d, wan_tape **t) WAN_MUST_CHECK;
int wan_dev_replay(wan_dev *d, wan_tape *t) WAN_MUST_CHECK;
void wan_dev_unrecord(wan_dev *d, wan_tape **t); /* NULL-safe; sets *t NULL; not while it may run */
/* From here on, until it is called again, the weights that products are given (w) stay what they are, each at its
 * address: ops may keep what they make of them (linear8.h).  FORWARD: and no product goes backward. */
enum wan_still { WAN_STILL_NOT, WAN_STILL, WAN_STILL_FORWARD };
void wan_dev_still(wan_dev *d, enum wan_still how);
/* What is kept of weights in these bytes is made again, where it is of another time: in front of a recording that reads
 * it, and of each replay.  What is recorded keeps nothing anew. */
int wan_dev_renew(wan_dev *d, const void *w, size_t bytes) WAN_MUST_CHECK;
/* Gives back the memory of what is kept; no recording that reads it is played again. */
void wan_dev_forget(wan_dev *d);
/* Workspace for one op call: valid until the next op.  Grows on first use only. */
void *wan_dev_scratch(wan_dev *d, size_t bytes);
/* The same for an op that calls others, which may take the scratch. */
void *wan_dev_aside(wan_dev *d, size_t bytes);

/* A pack on the device from host lengths; freed by wan_pack_free.  n >= 1; lengths may be 0. */
int wan_pack_new(wan_dev *d, wan_pack *p, const int64_t *len, int n) WAN_MUST_CHECK;
void wan_pack_free(wan_dev *d, wan_pack *p);

#endif
