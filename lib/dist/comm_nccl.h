/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_nccl.h - what libwan-nccl.so exports.  It is opened by a program that exports its own wan_
 * functions, and uses those.
 */
#ifndef WAN_DIST_COMM_NCCL_H
#define WAN_DIST_COMM_NCCL_H

#include "lib/dist/comm.h"

typedef int wan_comm_nccl_start_fn(wan_comm *c, wan_comm *boot);
/* Fills c; boot (self or mpi) belongs to c on success, to the caller on failure. */
wan_comm_nccl_start_fn wan_comm_nccl_start;

#endif
