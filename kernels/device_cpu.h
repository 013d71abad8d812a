/* SPDX-License-Identifier: Apache-2.0
 *
 * device_cpu.h - the CPU backend and its two op tables.
 */
#ifndef WAN_KERNELS_DEVICE_CPU_H
#define WAN_KERNELS_DEVICE_CPU_H

#include "kernels/ops.h"

extern const wan_backend wan_device_cpu;

/* Filled on first use; never freed.  "ref": reference C alone; "cpu": the fastest of all. */
const wan_ops *wan_ops_cpu_ref(void);
const wan_ops *wan_ops_cpu_best(void);

#endif
