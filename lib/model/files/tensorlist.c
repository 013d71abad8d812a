/* SPDX-License-Identifier: Apache-2.0
 *
 * tensorlist.c - see tensorlist.h.
 */
#include "lib/model/files/tensorlist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

/* ---- names */

static const char *const before[] = {
    "model.diffusion_model.",      "diffusion_model.",      "_orig_mod.",   "module.",
    "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "transformer.", "model."
};
static const char *const inside[] = { "._orig_mod.", "._fsdp_wrapped_module.",
                                      "._checkpoint_wrapped_module." };
/* What one file for everything holds beside the transformer. */
static const char *const others[] = { "first_stage_model.", "cond_stage_model.", "conditioner.",
                                      "text_encoders.", "vae." };
#define COUNT(a) (sizeof a / sizeof *a)

/* The beginning of s among those of the list; 0: none. */
static size_t begins(const char *s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strncmp(s, list[i], strlen(list[i])))
            return strlen(list[i]);
    return 0;
}

static char *plain_of(const char *name)
{
    size_t k;
    while ((k = begins(name, before, COUNT(before))) > 0)
        name += k;
    char *s = strdup(name);
    for (char *at = s; at && *at; at++)
        while ((k = begins(at, inside, COUNT(inside))) > 0)
            memmove(at, at + k - 1, strlen(at + k - 1) + 1);
    return s;
}

static int by_plain(const void *a, const void *b)
{
    const wan_tensorlist_item *x = a, *y = b;
    int c = strcmp(x->plain, y->plain);
    return c ? c : x->id - y->id;
}

/* ---- the list */

int wan_tensorlist_add(wan_tensorlist *l, const char *name, const int64_t *shape, int rank)
{
    if (rank > WAN_MAX_RANK)
        return wan_err("%s: tensor %s: more than %d dimensions", l->what, name, WAN_MAX_RANK);
    wan_tensorlist_item *more =
        wan_mem_grow(l->v, (size_t)l->n, &l->room, sizeof *more, "a tensor list");
    if (!more)
        return wan_err_prefix("%s", l->what);
    l->v = more;
    wan_tensorlist_item *t = &l->v[l->n];
    *t = (wan_tensorlist_item){ .name = strdup(name), .plain = plain_of(name), .id = l->n };
    l->n++;
    if (!t->name || !t->plain)
        return wan_err("%s: out of memory (tensor list)", l->what);
    t->rank = rank;
    if (rank)
        memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    return 0;
}

int wan_tensorlist_done(wan_tensorlist *l)
{
    if (l->n)
        qsort(l->v, (size_t)l->n, sizeof *l->v, by_plain);
    for (int i = 1; i < l->n; i++)
        if (!strcmp(l->v[i - 1].plain, l->v[i].plain))
            return wan_err("%s: tensors %s and %s: the same one twice", l->what, l->v[i - 1].name,
                           l->v[i].name);
    for (int i = 0; i < l->n; i++)
        l->others += begins(l->v[i].name, others, COUNT(others)) > 0;
    return 0;
}

const wan_tensorlist_item *wan_tensorlist_find(const wan_tensorlist *l, const char *plain)
{
    int low = 0, high = l->n;
    while (low < high) {
        int mid = low + (high - low) / 2, c = strcmp(l->v[mid].plain, plain);
        if (c == 0)
            return &l->v[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

void wan_tensorlist_free(wan_tensorlist *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].plain);
    }
    free(l->v);
    *l = (wan_tensorlist){ 0 };
}

/* ---- files of another kind */

/* What the name of a tensor says of its file. */
static const struct kind {
    const char *mark, *what;
} kinds[] = {
    { "scaled_fp8", "FP8 weights with scales (ComfyUI's scaled_fp8)" },
    { "scale_weight", "FP8 weights with scales (ComfyUI's scaled_fp8)" },
    { "scale_input", "FP8 weights with scales (ComfyUI's scaled_fp8)" },
    { "weight_scale", "8-bit weights with scales" },
    { "comfy_quant", "quantised weights with scales (ComfyUI)" },
    { "quant_state", "4-bit weights of bitsandbytes" },
    { "lora_A.", "a LoRA, not a model" },
    { "lora_down.", "a LoRA, not a model" },
    { "lora_up.", "a LoRA, not a model" },
    { "add_k_proj", "an image-to-video model" },
    { "img_emb.", "an image-to-video model" },
    { "image_embedder.", "an image-to-video model" },
    { "vace_", "a VACE model" },
};

static int refuse_kind(const wan_tensorlist *l)
{
    for (int i = 0; i < l->n; i++)
        for (size_t k = 0; k < COUNT(kinds); k++)
            if (strstr(l->v[i].plain, kinds[k].mark))
                return wan_err("%s: tensor %s: %s: not supported", l->what, l->v[i].name,
                               kinds[k].what);
    return 0;
}

/* ---- the parameters of a model */

static const char *name_of(const wan_param *q, int naming)
{
    return naming == WAN_NAMING_HF ? q->name : q->official;
}

/* The naming under which the most parameters are there; *hits: how many. */
static int recognise(int *hits, const wan_params *p, const wan_tensorlist *l)
{
    int found[WAN_NAMINGS] = { 0 };
    for (int k = 0; k < WAN_NAMINGS; k++)
        for (int i = 0; i < p->n; i++)
            found[k] += wan_tensorlist_find(l, name_of(&p->v[i], k)) != NULL;
    int best =
        found[WAN_NAMING_OFFICIAL] > found[WAN_NAMING_HF] ? WAN_NAMING_OFFICIAL : WAN_NAMING_HF;
    *hits = found[best];
    return best;
}

/* The item that ends with ".name" for a parameter's name; NULL: none does. */
static const wan_tensorlist_item *behind_prefix(const wan_tensorlist *l, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; n && i < l->n; i++) {
        size_t m = strlen(l->v[i].name);
        if (m > n + 1 && l->v[i].name[m - n - 1] == '.' && !strcmp(l->v[i].name + m - n, name))
            return &l->v[i];
    }
    return NULL;
}

/* Not one parameter has its name: say so, and whether they would have it behind something. */
static int refuse_names(const wan_params *p, const wan_tensorlist *l)
{
    for (int k = 0; k < WAN_NAMINGS; k++)
        for (int i = 0; i < p->n; i++) {
            const char *name = name_of(&p->v[i], k);
            const wan_tensorlist_item *t = strchr(name, '.') ? behind_prefix(l, name) : NULL;
            if (t)
                return wan_err("%s: tensor %s: unknown prefix \"%.*s\" before %s", l->what, t->name,
                               (int)(strlen(t->name) - strlen(name)), t->name, name);
        }
    return wan_err("%s: tensor %s: missing, and none of the %d tensors there is of this model%s%s",
                   l->what, p->v[0].name, l->n, l->n ? "; one is " : "", l->n ? l->v[0].name : "");
}

static void print_shape(char *s, size_t room, const int64_t *shape, int rank)
{
    size_t at = (size_t)snprintf(s, room, "[");
    for (int i = 0; i < rank && at < room; i++)
        at += (size_t)snprintf(s + at, room - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (at < room)
        snprintf(s + at, room - at, "]");
}

static int check_shape(const wan_tensorlist *l, const wan_tensorlist_item *t, const wan_param *q)
{
    char has[256], want[256];
    if (t->rank == q->rank && !memcmp(t->shape, q->shape, (size_t)q->rank * sizeof *t->shape))
        return 0;
    print_shape(has, sizeof has, t->shape, t->rank);
    print_shape(want, sizeof want, q->shape, q->rank);
    return wan_err("%s: tensor %s: has shape %s, expected %s", l->what, t->name, has, want);
}

/* Whatever no parameter took is an error; seen [l->n] by place in the list. */
static int refuse_extra(const wan_tensorlist *l, const char *seen, int whole)
{
    const char *extra = NULL;
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        if (seen[i] || (whole && begins(l->v[i].name, others, COUNT(others))))
            continue;
        if (!n++)
            extra = l->v[i].name;
    }
    if (n > 1)
        return wan_err("%s: tensor %s: no part of this model (nor are %d others)", l->what, extra,
                       n - 1);
    return n ? wan_err("%s: tensor %s: no part of this model", l->what, extra) : 0;
}

static int match_all(int *index, const wan_params *p, const wan_tensorlist *l, char *seen)
{
    int hits, naming = recognise(&hits, p, l), whole = 1;
    if (!hits)
        return refuse_names(p, l);
    for (int i = 0; i < p->n; i++) {
        const char *name = name_of(&p->v[i], naming);
        const wan_tensorlist_item *t = wan_tensorlist_find(l, name);
        if (!t)
            return wan_err("%s: tensor %s: missing", l->what, name);
        WAN_TRY(check_shape(l, t, &p->v[i]));
        index[i] = t->id;
        seen[t - l->v] = 1;
        whole = whole && strcmp(t->name, t->plain) != 0;
    }
    return refuse_extra(l, seen, whole);
}

int wan_tensorlist_match(int *index, const wan_params *p, const wan_tensorlist *l)
{
    WAN_TRY(refuse_kind(l));
    char *seen = wan_calloc((size_t)l->n + 1, 1, "tensor list");
    int rc = seen ? match_all(index, p, l, seen) : -1;
    free(seen);
    return rc;
}

/* ---- a config.json that is not there */

/* Extent `axis` of the tensor of the one or the other naming; -1: it is not there. */
static int64_t extent(const wan_tensorlist *l, const char *hf, const char *official, int axis)
{
    const wan_tensorlist_item *t = wan_tensorlist_find(l, hf);
    if (!t)
        t = wan_tensorlist_find(l, official);
    return t && axis < t->rank ? t->shape[axis] : -1;
}

static int count_blocks(const wan_tensorlist *l)
{
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        int b;
        if (sscanf(l->v[i].plain, "blocks.%d.", &b) == 1 && b >= n && b < 10000)
            n = b + 1;
    }
    return n;
}

json_t *wan_tensorlist_config(const wan_tensorlist *l)
{
    int64_t dim = extent(l, "patch_embedding.weight", "", 0);
    int64_t in = extent(l, "patch_embedding.weight", "", 1);
    int64_t ffn = extent(l, "blocks.0.ffn.net.0.proj.weight", "blocks.0.ffn.0.weight", 0);
    int64_t text =
        extent(l, "condition_embedder.text_embedder.linear_1.weight", "text_embedding.0.weight", 1);
    int64_t freq =
        extent(l, "condition_embedder.time_embedder.linear_1.weight", "time_embedding.0.weight", 1);
    int64_t out = extent(l, "proj_out.weight", "head.head.weight", 0);
    int64_t heads = l->heads ? l->heads : dim / 128;
    int bad_width = heads < 1 || dim % heads || (!l->heads && dim % 128);
    if (refuse_kind(l) < 0)
        return NULL;
    if (bad_width || in < 1 || ffn < 1 || text < 1 || freq < 1 || out < 4 || out % 4) {
        wan_err("%s: no config.json beside it, and the tensors do not say which model this is: %s",
                l->what,
                dim < 0     ? "no patch_embedding.weight, the first of a WAN transformer"
                : bad_width ? "its width is no whole number of heads (of 128 where nothing says)"
                            : "some of a WAN transformer's are missing");
        return NULL;
    }
    json_t *j = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I}", "_class_name",
        "WanTransformer3DModel", "num_attention_heads", (json_int_t)heads, "attention_head_dim",
        (json_int_t)(dim / heads), "in_channels", (json_int_t)in, "out_channels",
        (json_int_t)(out / 4), "ffn_dim", (json_int_t)ffn, "freq_dim", (json_int_t)freq,
        "num_layers", count_blocks(l), "text_dim", (json_int_t)text, "text_len", (json_int_t)512);
    if (!j)
        wan_err("%s: out of memory (config)", l->what);
    return j;
}
