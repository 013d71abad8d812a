/* SPDX-License-Identifier: Apache-2.0
 *
 * params.c - building, laying out and searching a parameter table.
 */
#include "lib/model/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 }; /* elements: a cache line of bf16, and 256 bytes of float */

int wan_params_add(wan_params *p, const wan_param *one)
{
    if ((p->n & (p->n - 1)) == 0) { /* grow at powers of two */
        size_t room = p->n ? 2 * (size_t)p->n : 1;
        wan_param *v = realloc(p->v, room * sizeof *v);
        if (!v)
            return wan_err("out of memory (parameter table of %d entries)", p->n + 1);
        p->v = v;
    }
    wan_param *q = &p->v[p->n++];
    *q = *one;
    q->count = 1;
    for (int i = 0; i < q->rank; i++)
        q->count *= q->shape[i];
    return 0;
}

/* Gives every tensor of one class its offset, in table order. */
static int64_t lay(wan_params *p, int is_gemm, int64_t at)
{
    for (int i = 0; i < p->n; i++) {
        wan_param *q = &p->v[i];
        if (q->is_gemm != is_gemm)
            continue;
        q->offset = at;
        p->count += q->count;
        at += (q->count + ALIGN - 1) / ALIGN * ALIGN;
    }
    return at;
}

static int by_offset(const void *a, const void *b)
{
    int64_t x = ((const wan_param *)a)->offset, y = ((const wan_param *)b)->offset;
    return x < y ? -1 : x > y;
}

void wan_params_layout(wan_params *p)
{
    p->count = 0;
    p->n_gemm = lay(p, 1, 0);
    p->total = lay(p, 0, p->n_gemm);
    qsort(p->v, (size_t)p->n, sizeof *p->v, by_offset);
}

int wan_params_find(const wan_params *p, const char *hf_name)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->v[i].name, hf_name) == 0)
            return i;
    return -1;
}

void wan_params_free(wan_params *p)
{
    free(p->v);
    *p = (wan_params){ 0 };
}
