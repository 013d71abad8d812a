/* SPDX-License-Identifier: Apache-2.0
 *
 * guard_dnnl.h - the border between C and oneDNN, which does not say it when memory runs out: it
 * throws, also in its threads, where nothing can catch; and it writes to what malloc did not give.
 */
#ifndef WAN_KERNELS_GUARD_DNNL_H
#define WAN_KERNELS_GUARD_DNNL_H

#ifdef __cplusplus
extern "C" {
#endif

#include "lib/base/err.h"

/* f(arg), or -1 and a sentence when something is thrown in it, or it writes to no memory in this
 * thread: f's frames are then left as they
 * are, so it holds no lock and leaves nothing half-made that is taken for whole.  While f runs, C++
 * that finds no memory is given a reserve bit by bit.  One call at a time. */
int wan_guard_dnnl(int (*f)(void *arg), void *arg) WAN_MUST_CHECK;

/* -1 (error recorded) unless there is memory for a plan: to be asked before one is made. */
int wan_guard_room(void) WAN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
