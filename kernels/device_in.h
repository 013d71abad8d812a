/* SPDX-License-Identifier: Apache-2.0
 *
 * device_in.h - what device_open.c and device.c share.
 */
#ifndef WAN_KERNELS_DEVICE_IN_H
#define WAN_KERNELS_DEVICE_IN_H

#include "kernels/device.h"

/* A device that is not open yet; NULL: out of memory (nothing recorded).  Once a backend has opened
 * it, wan_dev_close ends it, before that wan_dev_drop. */
wan_dev *wan_dev_new(int flags);
void wan_dev_drop(wan_dev *d);

#endif
