/* SPDX-License-Identifier: Apache-2.0
 *
 * axes.h - what tensor, sequence and context parallel ranks put into the acts of a model (acts.h), for
 * trainer and sampler alike.
 */
#ifndef WAN_MODEL_AXES_H
#define WAN_MODEL_AXES_H

#include "lib/dist/group.h"
#include "lib/model/acts.h"
#include "lib/model/wing/cp.h"

enum { WAN_AXES_TP = 256 }; /* tensor parallel ranks at most */

typedef struct wan_axes {
    wan_group *tp;
    const wan_where *where; /* memory of the device; NULL: the host's */
    const wan_slice *slice; /* of this rank */
    wan_cp *cp;             /* NULL: whole samples */
} wan_axes;

/* a stays the caller's, as long as the acts. */
wan_wing wan_axes_wing(wan_axes *a);

#endif
