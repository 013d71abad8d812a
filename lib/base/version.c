/* SPDX-License-Identifier: Apache-2.0
 *
 * version.c - what was built from what; the only object that knows the commit.
 */
#include "lib/base/opt.h"

#ifndef WAN_COMMIT
#define WAN_COMMIT "unknown"
#endif
#ifndef WAN_FLAGS
#define WAN_FLAGS ""
#endif

const char *wan_version(void)
{
    return WAN_VERSION " (" WAN_COMMIT ")";
}

const char *wan_version_build(void)
{
    return "compiler " __VERSION__ ", flags " WAN_FLAGS;
}
