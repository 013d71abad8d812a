/* SPDX-License-Identifier: Apache-2.0
 *
 * pickle_in.h - what the stack machine (pickle.c), its values (pickle_value.c) and torch's vocabulary
 * (pickle_torch.c) share.
 */
#ifndef WAN_REC_PICKLE_IN_H
#define WAN_REC_PICKLE_IN_H

#include "lib/rec/tensor/pickle.h"

struct wan_pickle {
    struct wan_pickle_block *blocks;
    size_t values, bytes; /* made so far */
    const wan_pickle_value *storages;
    const uint8_t *p, *end, *begin;
    wan_pickle_value **stack, **memo;
    size_t *mark;
    size_t n, cap, n_mark, cap_mark, cap_memo, next_memo;
};

void *wan_pickle_alloc(wan_pickle *p, size_t n);
wan_pickle_value *wan_pickle_make(wan_pickle *p, enum wan_pickle_kind kind);
void wan_pickle_release(wan_pickle *p); /* all of them */
/* The value of fn(*args); NULL on error.  Nothing is called: see pickle_torch.c. */
wan_pickle_value *wan_pickle_reduce(wan_pickle *p, const wan_pickle_value *fn,
                                    const wan_pickle_value *args);
/* The storage a persistent id names; NULL on error. */
wan_pickle_value *wan_pickle_storage(wan_pickle *p, const wan_pickle_value *id);

#endif
