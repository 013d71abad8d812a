/* SPDX-License-Identifier: Apache-2.0
 *
 * objective.c - see objective.h.
 */
#include "lib/model/objective.h"

#include <string.h>

enum { MOST = 16 };
static const wan_objective *table[MOST] = { &wan_flow_objective, &wan_edm_objective };

const wan_objective *wan_objective_find(const char *name)
{
    for (int i = 0; i < MOST && table[i]; i++)
        if (!strcmp(table[i]->name, name))
            return table[i];
    return NULL;
}

int wan_objective_register(const wan_objective *o)
{
    int n = 0;
    if (wan_objective_find(o->name))
        return wan_err("objective \"%s\" is there already", o->name);
    if (o->size > WAN_OBJECTIVE_BYTES)
        return wan_err("objective \"%s\": settings of %zu bytes, at most %d", o->name, o->size,
                       WAN_OBJECTIVE_BYTES);
    while (n < MOST && table[n])
        n++;
    if (n == MOST)
        return wan_err("more than %d objectives", MOST);
    table[n] = o;
    return 0;
}
