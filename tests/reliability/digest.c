/* SPDX-License-Identifier: Apache-2.0
 *
 * digest.c - digest PATH...: one line, the same where files and folders hold the same.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/reliability/tree.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        uint64_t d = tree_digest(argv[i], 0);
        if (!d) {
            perror(argv[i]);
            return 1;
        }
        printf("%016" PRIx64 "%s", d, i + 1 < argc ? " " : "\n");
    }
    return 0;
}
