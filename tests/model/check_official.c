/* SPDX-License-Identifier: Apache-2.0
 *
 * check_official.c - official torch files to HuggingFace folders: all names, every value in its
 * place, foreign tensors refused, and the results open.
 */
#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/model/files/official.h"
#include "lib/model/text/text.h"
#include "lib/model/vae/vae.h"
#include "lib/rec/tensor/safetensors.h"
#include "tests/must.h"
#include "tests/tap.h"

#define DATA "tests/data/torch/"
enum { VAE_TENSORS = 194, ALL = 216 };

static char folder[] = "/tmp/wan-check-official.XXXXXX";
static char names[ALL][2][160]; /* official, HuggingFace */

static void load_names(void)
{
    char *text, *line;
    size_t size;
    int n = 0;
    MUST(wan_slurp(&text, &size, DATA "official.names", 1 << 20));
    for (line = strtok(text, "\n"); line && n < ALL; line = strtok(NULL, "\n"), n++)
        if (sscanf(line, "%159s %159s", names[n][0], names[n][1]) != 2)
            break;
    ok(n == ALL && !line, "official.names has %d of %d names", n, ALL);
    free(text);
}

static void check_names(void)
{
    char hf[160];
    int good = 0;
    for (int i = 0; i < ALL; i++) {
        int rc = i < VAE_TENSORS ? wan_official_vae_name(hf, sizeof hf, names[i][0])
                                 : wan_official_umt5_name(hf, sizeof hf, names[i][0]);
        if (rc == 0 && strcmp(hf, names[i][1]) == 0)
            good++;
        else
            ok(0, "%s is %s", names[i][0], names[i][1]);
    }
    ok(good == ALL, "%d of %d names", good, ALL);
    ok(wan_official_vae_name(hf, sizeof hf, "decoder.upsamples.x.bias") < 0 &&
           wan_official_vae_name(hf, sizeof hf, "decoder.middle.1.residual.0.gamma") < 0 &&
           wan_official_vae_name(hf, sizeof hf, "blocks.0.norm1.weight") < 0 &&
           wan_official_umt5_name(hf, sizeof hf, "blocks.0.norm3.weight") < 0,
       "names that are none");
}

/* Every value of the folder is the one its name says. */
static void check_values(const char *dir, int first, int count, int bf16)
{
    wan_st *st;
    int good = 0;
    MUST(wan_st_open(&st, dir));
    for (int i = first; i < first + count; i++) {
        const char *name = names[i][1];
        wan_st_tensor *t = wan_st_find(st, name);
        if (!t)
            continue;
        float *v = malloc((size_t)t->count * sizeof *v);
        MUST(wan_st_load(st, name, t->shape, t->rank, v, WAN_F32));
        uint64_t start = wan_crc32(0, name, strlen(name));
        int64_t j = 0;
        for (; j < t->count; j++) {
            float want = (float)((double)((start + (uint64_t)j) % 997) / 997);
            if (v[j] != (bf16 ? wan_bf16_to_f32(wan_f32_to_bf16(want)) : want))
                break;
        }
        good += j == t->count;
        free(v);
    }
    ok(good == count && (int)wan_st_count(st) == count, "%d of %d tensors have their values", good,
       count);
    wan_st_close(&st);
}

int main(void)
{
    wan_dev *d;
    wan_vae *vae = NULL;
    wan_umt5 *e = NULL;
    if (!mkdtemp(folder))
        must_die();
    char *v = wan_path_join(folder, "vae"), *t = wan_path_join(folder, "text_encoder");
    load_names();
    check_names();
    MUST(wan_dev_open(&d, "cpu", 0));
    ok(wan_official_vae(DATA "official_vae.pth", v, 1 << 30) == 0, "the VAE");
    check_values(v, 0, VAE_TENSORS, 0);
    ok(wan_vae_open(&vae, d, v, WAN_VAE_ENCODER | WAN_VAE_DECODER, WAN_F32) == 0, "it opens");
    ok(wan_official_umt5(DATA "official_umt5.pth", t, 1000) == 0, "the text encoder, sharded");
    check_values(t, VAE_TENSORS, ALL - VAE_TENSORS, 1);
    ok(wan_umt5_open(&e, d, t, WAN_BF16) == 0, "it opens");
    int rc = wan_official_vae(DATA "official_umt5.pth", v, 1 << 30);
    ok(rc < 0 && strstr(wan_err_text(), "no part of this model"), "another file: %s",
       wan_err_text());
    wan_vae_close(&vae);
    wan_umt5_close(&e);
    wan_dev_close(&d);
    free(v);
    free(t);
    wan_remove_tree(folder);
    return tap_done();
}
