/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler_priv.h - what sampler.c and sampler_schedule.c share.
 */
#ifndef WAN_MODEL_SAMPLER_PRIV_H
#define WAN_MODEL_SAMPLER_PRIV_H

enum { WAN_SAMPLER_MAX = 1000 }; /* steps */

#endif
