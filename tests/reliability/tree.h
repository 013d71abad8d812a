/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.h - a folder with all below it, or a file: its digest, and a copy of it.
 */
#ifndef WAN_TESTS_TREE_H
#define WAN_TESTS_TREE_H

#include <stdint.h>

/* Of kinds, sizes, bytes and the names below it; times: of when files were changed, too.  0: it cannot be read. */
uint64_t tree_digest(const char *path, int times);
/* Makes `to` like `from`, with its times; -1: errno says why. */
int tree_copy(const char *from, const char *to);
int tree_remove(const char *dir);

#endif
