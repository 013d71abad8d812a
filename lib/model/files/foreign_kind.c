/* SPDX-License-Identifier: Apache-2.0
 *
 * foreign_kind.c - which paths are read by foreign.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/files/foreign.h"
#include "lib/rec/tensor/dcp.h"

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

int wan_foreign_is(const char *path)
{
    return wan_dcp_is(path) ||
           ((ends_with(path, ".pth") || ends_with(path, ".pt") || ends_with(path, ".bin")) &&
            wan_is_dir(path) == 0);
}

/* ---- what is there */
