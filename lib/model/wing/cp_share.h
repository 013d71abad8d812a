/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_share.h - the even cut: of a sample's tokens over ranks, or of heads.
 */
#ifndef WAN_MODEL_CP_SHARE_H
#define WAN_MODEL_CP_SHARE_H

#include "lib/model/acts.h"

/* How many of n things rank `rank` of `ranks` holds, from *first on; the first ranks one more where they
 * do not divide, and where there are fewer things than ranks the last ones none. */
int64_t wan_cp_share(int64_t *first, int64_t n, int rank, int ranks);
/* The largest micro-batch that a rank holds of one of the capacity cap. */
wan_capacity wan_cp_capacity(const wan_capacity *cap, int ranks);

#endif
