/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize.c - see quantize.h.
 */
#include "lib/model/files/quantize.h"

#include <string.h>

#include "lib/rec/tensor/gguf.h"

static wan_quant type_of(const wan_param *p, wan_quant q)
{
    return p->gemm && p->rank == 2 && p->shape[1] % (int64_t)wan_quant_values(q) == 0 ? q
                                                                                      : WAN_Q_NONE;
}

/* The first two extents become one until there are four. */
static int four(int64_t shape[5], const wan_param *p)
{
    int rank = p->rank;
    memcpy(shape, p->shape, sizeof p->shape);
    for (; rank > 4; rank--) {
        shape[0] *= shape[1];
        memmove(shape + 1, shape + 2, (size_t)(rank - 2) * sizeof *shape);
    }
    return rank;
}

static int declare(int *blocks, wan_gguf_writer *w, const wan_params *p, wan_quant q)
{
    *blocks = 0;
    for (int i = 0; i < p->n; i++) {
        const wan_param *v = &p->v[i];
        int64_t shape[5];
        int rank = four(shape, v);
        wan_quant as = type_of(v, q);
        *blocks += as != WAN_Q_NONE;
        if (v->rank > 4)
            WAN_TRY(wan_gguf_set_shape(w, v->official, v->shape, v->rank));
        WAN_TRY(wan_gguf_declare(w, v->official, as, WAN_F32, shape, rank));
    }
    return 0;
}

static int write_all(int *blocks, wan_gguf_writer *w, const wan_arch *arch, const wan_params *p,
                     wan_quant q, wan_weights_fetch *fetch, void *arg)
{
    wan_sizes z;
    wan_model_sizes(&z, arch);
    WAN_TRY(wan_gguf_set_string(w, "general.architecture", "wan"));
    WAN_TRY(wan_gguf_set_string(w, "general.type", "diffusion"));
    WAN_TRY(wan_gguf_set_number(w, "general.quantization_version", 2));
    WAN_TRY(wan_gguf_set_number(w, "wan.attention.head_count", (uint32_t)(z.width / z.head_dim)));
    WAN_TRY(declare(blocks, w, p, q));
    for (int i = 0; i < p->n; i++) {
        const void *data;
        wan_dtype t;
        WAN_TRY(fetch(arg, i, &data, &t));
        WAN_TRY(wan_gguf_put(w, p->v[i].official, data));
    }
    return 0;
}

int wan_quantize(int *blocks, const wan_arch *arch, const wan_params *p, const char *path,
                 wan_quant q, wan_weights_fetch *fetch, void *arg)
{
    wan_gguf_writer *w;
    if (!arch->model->layout[WAN_NAMING_OFFICIAL])
        return wan_err("%s: a model of type %s has no names that readers of GGUF know", path,
                       arch->model->type);
    WAN_TRY(wan_gguf_create(&w, path));
    int rc = write_all(blocks, w, arch, p, q, fetch, arg);
    if (rc == 0)
        rc = wan_gguf_finish(&w);
    wan_gguf_abandon(&w);
    return rc;
}
