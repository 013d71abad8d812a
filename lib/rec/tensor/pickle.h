/* SPDX-License-Identifier: Apache-2.0
 *
 * pickle.h - a bounded interpreter of the pickles torch writes.  It never calls, imports or
 * resolves anything: GLOBAL yields a (module, name) pair, REDUCE is a switch over a closed table,
 * and whatever is not in the table becomes an opaque value.
 *
 * Source of the format: wan-data(7), Torch files, Python's pickletools documentation.
 * Limits: 4 Mi values, 1 Mi stack entries, integers of 64 bits; every length is compared with the
 * bytes that are left before it is used.
 */
#ifndef WAN_REC_PICKLE_H
#define WAN_REC_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/dtype.h"

enum wan_pickle_kind {
    WAN_PK_NONE,
    WAN_PK_BOOL,
    WAN_PK_INT,
    WAN_PK_REAL,
    WAN_PK_STR,     /* str, len: not NUL-terminated */
    WAN_PK_BYTES,   /* str, len */
    WAN_PK_TUPLE,   /* item, len */
    WAN_PK_LIST,    /* item, len */
    WAN_PK_DICT,    /* item = key, value, key, value...; len counts both */
    WAN_PK_GLOBAL,  /* str = module, len; name, name_len */
    WAN_PK_STORAGE, /* str, len = key; i = elements; view offset in view; dtype or untyped */
    WAN_PK_LOADED,  /* torch.storage._load_from_bytes(str, len): a nested torch file */
    WAN_PK_TENSOR,  /* item[0] = STORAGE or LOADED, item[1] = size, item[2] = stride; i = offset */
    WAN_PK_OPAQUE,  /* the result of something outside the table; str, len say what; state */
};

typedef struct wan_pickle_value wan_pickle_value;
struct wan_pickle_value {
    enum wan_pickle_kind kind;
    int dtype; /* wan_dtype; -1 untyped, -2 a type we have no name for */
    size_t len, cap;
    union {
        int64_t i;
        double d;
        const char *name; /* GLOBAL */
    };
    union {
        const char *str;
        wan_pickle_value **item;
    };
    union {
        int64_t view;    /* STORAGE: first element of the view */
        size_t name_len; /* GLOBAL */
    };
    /* OPAQUE: what BUILD would have given it, or NULL; STORAGE: the one made before it, or NULL */
    const wan_pickle_value *state;
};

typedef struct wan_pickle wan_pickle; /* owns all values of its runs */

wan_pickle *wan_pickle_new(void);
/* Runs one pickle at data[0..n); *used is the offset behind its STOP.  Values live until
 * wan_pickle_free and point into data.  NULL on error (sentence: "offset N: reason"). */
const wan_pickle_value *wan_pickle_run(wan_pickle *p, const void *data, size_t n, size_t *used);
void wan_pickle_free(wan_pickle **p);

/* The last STORAGE of all runs, whether a value holds it or not; NULL: none. */
const wan_pickle_value *wan_pickle_storages(const wan_pickle *p);
/* Member `name` of a map, or of the state of an opaque value when that is a map; NULL: none. */
const wan_pickle_value *wan_pickle_get(const wan_pickle_value *v, const char *name);
/* The wan_dtype that a global like torch.float32 names; -1 untyped, -2 none that has a name here. */
int wan_pickle_dtype(const wan_pickle_value *v);
/* Nonzero when v is a STR equal to s. */
int wan_pickle_is(const wan_pickle_value *v, const char *s);

#endif
