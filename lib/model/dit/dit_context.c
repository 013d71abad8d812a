/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_context.c - keys and values of a prompt for every block (context.h).
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"
#include "lib/model/dit/dit_priv.h"

/* Work space that is needed only while the context is made. */
typedef struct scratch {
    wan_real *staging; /* host */
    wan_real *rstd;
    wan_buf x, k0;
} scratch;

static int scratch_new(scratch *s, const wan_context *c, const wan_dit_config *cfg)
{
    size_t R = (size_t)c->R, e = wan_dtype_size(c->compute);
    s->staging = wan_malloc(R, sizeof *s->staging, "text rows");
    s->rstd = wan_dev_alloc(c->d, R * (size_t)cfg->heads * sizeof *s->rstd, "text rows");
    s->x = wan_buf_of(wan_dev_alloc(c->d, R * (size_t)cfg->text_dim * e, "text rows"), c->compute);
    s->k0 = wan_buf_of(wan_dev_alloc(c->d, R * (size_t)c->width * e, "text rows"), c->compute);
    return s->staging && s->rstd && s->x.p && s->k0.p ? 0 : -1;
}

static void scratch_free(scratch *s, wan_dev *d)
{
    free(s->staging);
    wan_dev_free(d, s->rstd);
    wan_dev_free(d, s->x.p);
    wan_dev_free(d, s->k0.p);
}

static int fill(wan_context *c, wan_store *st, const wan_dit_config *cfg, scratch *s, wan_buf text,
                const int64_t *text_len)
{
    wan_dev *d = c->d;
    WAN_TRY(wan_textrows_lay(d, s->x, c->kbias, &c->pack.pack, text, text_len, cfg->text_dim,
                             cfg->text_len, s->staging));
    for (int l = 0; l < cfg->layers; l++) {
        wan_dit_block b;
        WAN_TRY(wan_store_enter(st, l + 1));
        wan_dit_bind_block(&b, st, l);
        WAN_TRY(wan_dit_text_kv(d, cfg, &b, wan_context_key(c, l), wan_context_value(c, l), s->k0,
                                s->rstd, s->x, c->R));
    }
    return wan_dev_sync(d);
}

int wan_dit_context_new(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                        const int64_t *text_len, int n)
{
    const wan_dit_config *cfg = a->c;
    wan_widths z;
    scratch w = { 0 };
    *out = NULL;
    WAN_TRY(wan_widths_of(&z, cfg->heads, cfg->head_dim, cfg->ffn, &s->slice));
    WAN_TRY(wan_context_new(out, s, cfg->layers, z.A, text_len, n, cfg->text_len));
    int rc = scratch_new(&w, *out, cfg);
    if (rc == 0)
        rc = fill(*out, s, cfg, &w, text, text_len);
    scratch_free(&w, s->d);
    if (rc < 0)
        wan_context_free(out);
    return rc;
}
