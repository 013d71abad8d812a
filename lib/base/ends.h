/* SPDX-License-Identifier: Apache-2.0
 *
 * ends.h - how a name ends.
 */
#ifndef WAN_BASE_ENDS_H
#define WAN_BASE_ENDS_H

#include <string.h>

/* Whether s ends with `end`, or is it. */
static inline int wan_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

#endif
