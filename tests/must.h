/* SPDX-License-Identifier: Apache-2.0
 *
 * must.h - what a check cannot go on without: one sentence, and the end of its program.
 */
#ifndef WAN_TESTS_MUST_H
#define WAN_TESTS_MUST_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/err.h"

__attribute__((unused)) static void must_die(void)
{
    printf("Bail out! %s\n", wan_err_text());
    exit(1);
}
#define MUST(e)                                                                                    \
    do {                                                                                           \
        if ((e) < 0)                                                                               \
            must_die();                                                                            \
    } while (0)

#endif
