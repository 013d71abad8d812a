/* SPDX-License-Identifier: Apache-2.0
 *
 * foreign.c - see foreign.h.  Every parameter is a piece of a stored tensor: all of it, one layer of a
 * stack, or one of the matrices that Megatron weaves into one, head by head.
 */
#include "lib/model/files/foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/opt.h"
#include "lib/base/yaml.h"
#include "lib/model/files/megatron.h"
#include "lib/model/files/modelio.h"
#include "lib/rec/tensor/dcp.h"
#include "lib/rec/tensor/torch.h"

typedef struct stored {
    const char *name;
    wan_dtype type;
    int rank;
    const int64_t *shape;
} stored;

struct wan_foreign {
    char *path;
    wan_dcp *dcp;     /* either this */
    wan_torch *torch; /* or that */
    wan_tensorlist list;
    wan_megatron_piece *piece; /* of each tensor of the list, by its number */
    size_t room;
    int skipped;
    wan_params params; /* of the model it turned out to be; the caller's */
    int *index;        /* parameter -> number in the list */
    int64_t head_dim;
};

static size_t count_of(const wan_foreign *f)
{
    return f->dcp ? wan_dcp_count(f->dcp) : wan_torch_count(f->torch);
}

static stored at(const wan_foreign *f, size_t i)
{
    if (f->dcp) {
        const wan_dcp_tensor *t = wan_dcp_at(f->dcp, i);
        return (stored){ t->name, t->dtype, t->rank, t->shape };
    }
    const wan_torch_tensor *t = wan_torch_at(f->torch, i);
    return (stored){ t->name, t->dtype, t->rank, t->shape };
}

/* What a training state holds beside the weights. */
static int is_state(const char *name)
{
    static const char *const begins[] = { "optimizer",   "optim.", "rng_state",
                                          "rerun_state", "lr_",    "opt_param_scheduler",
                                          "dataloader" };
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (!strncmp(name, begins[i], strlen(begins[i])))
            return 1;
    return strstr(name, "_extra_state") != NULL;
}

static int add_piece(void *arg, const char *name, const int64_t *shape, int rank,
                     const wan_megatron_piece *piece)
{
    wan_foreign *f = arg;
    wan_megatron_piece *more =
        wan_mem_grow(f->piece, (size_t)f->list.n, &f->room, sizeof *more, "a tensor list");
    if (!more)
        return -1;
    f->piece = more;
    f->piece[f->list.n] = *piece;
    return wan_tensorlist_add(&f->list, name, shape, rank);
}

/* Whether the layers have Megatron's names. */
static int is_megatron(const wan_foreign *f)
{
    for (size_t i = 0; i < count_of(f); i++)
        if (!is_state(at(f, i).name) && strstr(at(f, i).name, "decoder.layers."))
            return 1;
    return 0;
}

static int list_all(wan_foreign *f)
{
    int megatron = is_megatron(f);
    f->list = (wan_tensorlist){ .what = f->path };
    for (size_t i = 0; i < count_of(f); i++) {
        stored t = at(f, i);
        if (is_state(t.name)) {
            f->skipped++;
            continue;
        }
        if (t.rank > WAN_MAX_RANK)
            return wan_err("%s: tensor %s: more than %d dimensions", f->path, t.name, WAN_MAX_RANK);
        wan_megatron_piece whole = { .tensor = i, .layer = -1, .parts = 1 };
        int rc = megatron ? wan_megatron_pieces(t.name, t.shape, t.rank, i, add_piece, f)
                          : add_piece(f, t.name, t.shape, t.rank, &whole);
        if (rc < 0)
            return wan_err_prefix("%s: tensor %s", f->path, t.name);
    }
    if (f->skipped)
        wan_info("%s: %d tensors of the training state are left out", f->path, f->skipped);
    return wan_tensorlist_done(&f->list);
}

int wan_foreign_open(wan_foreign **out, const char *path)
{
    wan_foreign *f = wan_calloc(1, sizeof *f, "checkpoint");
    *out = NULL;
    if (!f)
        return -1;
    int rc = (f->path = strdup(path)) ? 0 : wan_err("out of memory (path)");
    if (rc == 0)
        rc = wan_dcp_is(path) ? wan_dcp_open(&f->dcp, path) : wan_torch_open(&f->torch, path);
    if (rc == 0)
        rc = list_all(f);
    if (rc < 0)
        wan_foreign_close(&f);
    *out = f;
    return rc;
}

/* ---- which model */

/* The heads that Megatron's run_config.yaml says; 0: there is none, or it does not say. */
static int heads_of(int64_t *heads, const char *dir)
{
    char *path = NULL, *text = NULL;
    wan_yaml *y = NULL;
    size_t n;
    *heads = 0;
    if (!wan_exists_in(dir, "run_config.yaml"))
        return 0;
    path = wan_path_join(dir, "run_config.yaml");
    int rc = path ? wan_slurp(&text, &n, path, 1 << 24) : -1;
    if (rc == 0 && wan_yaml_parse(&y, text, n, path) == 0) {
        const wan_yaml_node *m = wan_yaml_get(wan_yaml_root(y), "model");
        const wan_yaml_node *h = m ? wan_yaml_get(m, "num_attention_heads") : NULL;
        if (h && h->kind == WAN_YAML_SCALAR &&
            wan_parse_int(heads, h->text, 1, 1 << 16, "num_attention_heads") < 0)
            wan_warn("%s: %s", path, wan_err_text());
    } else if (rc == 0 && wan_err_memory()) {
        rc = -1;
    } else if (rc == 0) {
        wan_warn("%s: cannot say the number of heads; they are taken for heads of 128",
                 wan_err_text());
    }
    wan_yaml_free(&y);
    free(text);
    free(path);
    return rc;
}

static int find_config(wan_arch *arch, wan_foreign *f)
{
    char *config = wan_modelio_beside(f->path, "config.json");
    if (!config)
        return -1;
    int there = wan_exists(config);
    free(config);
    if (there)
        return wan_modelio_config(arch, f->path);
    if (f->dcp)
        WAN_TRY(heads_of(&f->list.heads, f->path));
    return wan_modelio_config_of(arch, &f->list);
}

int wan_foreign_match(wan_arch *arch, wan_params *params, wan_foreign *f)
{
    wan_sizes z;
    WAN_TRY(find_config(arch, f));
    WAN_TRY(arch->model->params(params, arch->c));
    wan_model_sizes(&z, arch);
    f->head_dim = z.head_dim;
    f->params = *params;
    f->index = wan_calloc((size_t)params->n + 1, sizeof *f->index, "tensor list");
    return f->index ? wan_tensorlist_match(f->index, params, &f->list) : -1;
}

/* ---- reading */

wan_dtype wan_foreign_type(const wan_foreign *f, int i)
{
    return at(f, f->piece[f->index[i]].tensor).type;
}

/* Rows [row, row + rows) of a stored tensor, along its first dimension. */
static int load(wan_foreign *f, size_t i, int64_t row, int64_t rows, void *dst, wan_dtype dt)
{
    if (f->dcp)
        return wan_dcp_read(f->dcp, wan_dcp_at(f->dcp, i), row, rows, dst, dt);
    wan_torch_tensor *t = wan_torch_at(f->torch, i);
    if (row || (t->rank && rows != t->shape[0]))
        return wan_err("%s: tensor %s: stacks of layers are read from distributed checkpoints only",
                       f->path, t->name);
    int rc = wan_torch_read(f->torch, t, dst, dt);
    wan_torch_release(f->torch, t);
    return rc;
}

/* Row r of the parameter is row (r / d * parts + part) * d + r % d of what is woven, d a head. */
static void unweave(uint8_t *dst, const uint8_t *woven, const wan_megatron_piece *p, int64_t rows,
                    size_t bytes, int64_t d)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(dst + (size_t)r * bytes,
               woven + (size_t)((r / d * p->parts + p->part) * d + r % d) * bytes, bytes);
}

int wan_foreign_read(wan_foreign *f, int i, void *dst, wan_dtype dt)
{
    const wan_param *q = &f->params.v[i];
    const wan_megatron_piece *p = &f->piece[f->index[i]];
    stored t = at(f, p->tensor);
    int64_t row = p->layer < 0 ? 0 : p->layer, rows = p->layer < 0 && t.rank ? t.shape[0] : 1;
    if (p->parts == 1)
        return load(f, p->tensor, row, rows, dst, dt);
    size_t size = wan_dtype_size(dt);
    if (q->shape[0] % f->head_dim)
        return wan_err("%s: tensor %s: its rows are no whole heads", f->path, t.name);
    uint8_t *woven = wan_malloc((size_t)q->count * (size_t)p->parts, size, "a tensor");
    int rc = woven ? load(f, p->tensor, row, rows, woven, dt) : -1;
    if (rc == 0)
        unweave(dst, woven, p, q->shape[0], (size_t)(q->count / q->shape[0]) * size, f->head_dim);
    free(woven);
    return rc;
}

void wan_foreign_close(wan_foreign **pf)
{
    wan_foreign *f = *pf;
    if (!f)
        return;
    wan_tensorlist_free(&f->list);
    wan_dcp_close(&f->dcp);
    wan_torch_close(&f->torch);
    free(f->piece);
    free(f->index);
    free(f->path);
    free(f);
    *pf = NULL;
}
