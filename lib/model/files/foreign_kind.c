/* SPDX-License-Identifier: Apache-2.0
 *
 * foreign_kind.c - which paths are read by foreign.c.
 */
#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/model/files/foreign.h"
#include "lib/rec/tensor/dcp.h"

int wan_foreign_is(const char *path)
{
    return wan_dcp_is(path) || ((wan_ends_with(path, ".pth") || wan_ends_with(path, ".pt") ||
                                 wan_ends_with(path, ".bin")) &&
                                wan_is_dir(path) == 0);
}
