/* SPDX-License-Identifier: Apache-2.0
 *
 * modules.c - see modules.h.
 */
#include "lib/train/config/modules.h"

#include <string.h>

#include "lib/model/acts.h"

static const struct {
    const char *name;
    int redo;
    const char *why; /* refused */
} words[] = {
    { "layernorm", WAN_REDO_NORMS, NULL },
    { "qk_norm", WAN_REDO_QK, NULL },
    { "mlp_act", WAN_REDO_ACT, NULL },
    { "core_attn", 0,
      "the output of attention is kept: doing it again costs more than selective may" },
    { "mlp", 0, "its products are kept: mlp_act does their activation again" },
    { "mla_up_proj", 0, "the model has none" },
    { "moe", 0, "the model has no experts" },
    { "moe_act", 0, "the model has no experts" },
    { "shared_experts", 0, "the model has no experts" },
};

static int find(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].name) == n && !memcmp(words[i].name, s, n))
            return (int)i;
    return -1;
}

int wan_modules_spared(int *spared, const char *text)
{
    static const char between[] = "[], \"'";
    int redo = 0, some = 0;
    for (const char *s = text + strspn(text, between); *s; s += strspn(s, between)) {
        size_t n = strcspn(s, between);
        int i = find(s, n);
        if (i < 0)
            return wan_err(
                "model.recompute_modules: \"%.*s\" is none of layernorm, qk_norm, mlp_act", (int)n,
                s);
        if (words[i].why)
            return wan_err("model.recompute_modules: %s: %s", words[i].name, words[i].why);
        redo |= words[i].redo;
        some = 1;
        s += n;
    }
    *spared = some ? WAN_REDO_ALL & ~redo : 0;
    return 0;
}
