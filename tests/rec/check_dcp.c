/* SPDX-License-Identifier: Apache-2.0
 *
 * check_dcp.c - a distributed checkpoint that torch wrote from two ranks (tests/reference/ref_dcp.py),
 * row by row; cut and spoilt ones are refused, or read without harm.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/dcp.h"
#include "tests/tap.h"

#define DIR "tests/data/ref/dcp/megatron/iter_0000004"

static const char *dir;

static const wan_dcp_tensor *find(const wan_dcp *d, const char *name)
{
    for (size_t i = 0; i < wan_dcp_count(d); i++)
        if (!strcmp(wan_dcp_at(d, i)->name, name))
            return wan_dcp_at(d, i);
    return NULL;
}

/* All rows at once, and each by itself. */
static void rows(wan_dcp *d, const char *name)
{
    const wan_dcp_tensor *t = find(d, name);
    if (!ok(t && t->dtype == WAN_F32, "%s is there", name))
        return;
    int64_t row = t->count / t->shape[0], same = 0;
    float *all = calloc((size_t)t->count, sizeof *all), *one = calloc((size_t)row, sizeof *one);
    int rc = wan_dcp_read(d, t, 0, t->shape[0], all, WAN_F32);
    for (int64_t i = 0; i < t->shape[0] && rc == 0; i++) {
        rc = wan_dcp_read(d, t, i, 1, one, WAN_F32);
        same += !memcmp(one, all + i * row, (size_t)row * sizeof *one);
    }
    ok(rc == 0 && same == t->shape[0], "%s: its rows one by one (%s)", name,
       rc ? wan_err_text() : "");
    free(all);
    free(one);
}

/* The checkpoint with other bytes in one of its files; NULL: refused. */
static wan_dcp *with(const char *name, const char *data, size_t n)
{
    char path[512];
    wan_dcp *d = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (wan_spew(path, data, n) == 0 && wan_dcp_open(&d, dir) < 0)
        d = NULL;
    return d;
}

static int read_all(wan_dcp *d)
{
    int bad = 0;
    for (size_t i = 0; i < wan_dcp_count(d); i++) {
        const wan_dcp_tensor *t = wan_dcp_at(d, i);
        void *buf = t->count < 1 << 20 ? malloc((size_t)t->count * 8 + 8) : NULL;
        if (buf)
            bad += wan_dcp_read(d, t, 0, t->rank ? t->shape[0] : 1, buf, t->dtype) < 0;
        free(buf);
    }
    return bad;
}

static void spoil(const char *name, size_t step)
{
    char *data;
    size_t n, cut = 0, cuts = 0;
    if (!ok(wan_slurp(&data, &n, DIR "/.metadata", 1 << 24) == 0, "%s", name))
        return;
    for (size_t at = 0; at < n; at += step, cuts++) {
        wan_dcp *d = with(".metadata", data, at);
        cut += d == NULL;
        wan_dcp_close(&d);
    }
    ok(cut == cuts, "cut anywhere it is refused: %zu of %zu", cut, cuts);
    for (size_t at = 0; at < n; at += 53) {
        data[at] ^= 0x21;
        wan_dcp *d = with(".metadata", data, n);
        if (d)
            read_all(d);
        wan_dcp_close(&d);
        data[at] ^= 0x21;
    }
    ok(1, "any byte changed, nothing worse than a refusal");
    wan_dcp *d = with(".metadata", data, n);
    ok(d && read_all(d) == 0, "and whole again");
    wan_dcp_close(&d);
    free(data);
}

/* Extents of matrices the other way round, as many elements: the pieces say otherwise. */
static void turned(void)
{
    char *data;
    size_t n, turned = 0, told = 0;
    if (!ok(wan_slurp(&data, &n, DIR "/.metadata", 1 << 24) == 0, "matrices"))
        return;
    for (size_t at = 0; at + 5 <= n; at++) {
        char want[5], other[5];
        memcpy(want, data + at, 5);
        if (want[0] != 'K' || want[2] != 'K' || want[4] != (char)0x86 || want[1] == want[3])
            continue;
        memcpy(other, want, 5);
        other[1] = want[3];
        other[3] = want[1];
        for (size_t i = at; i + 5 <= n; i++)
            if (!memcmp(data + i, want, 5))
                memcpy(data + i, other, 5);
        wan_dcp *d = with(".metadata", data, n);
        turned++;
        told += d && read_all(d) > 0 && strstr(wan_err_text(), "another shape");
        wan_dcp_close(&d);
        free(data);
        if (wan_slurp(&data, &n, DIR "/.metadata", 1 << 24) < 0)
            return;
    }
    wan_dcp *d = with(".metadata", data, n);
    ok(told > 0 && d, "%zu of %zu shapes that are turned are told: %s", told, turned,
       wan_err_text());
    wan_dcp_close(&d);
    free(data);
}

static void cut_file(void)
{
    char *data;
    size_t n;
    if (!ok(wan_slurp(&data, &n, DIR "/__1_0.distcp", 1 << 24) == 0, "pieces"))
        return;
    wan_dcp *d = with("__1_0.distcp", data, n - 1);
    ok(!d && strstr(wan_err_text(), "its data end at"), "a short file: %s", wan_err_text());
    wan_dcp_close(&d);
    data[n / 2] ^= 1;
    d = with("__1_0.distcp", data, n);
    ok(d && read_all(d) > 0, "a changed piece fails its checksum: %s", wan_err_text());
    wan_dcp_close(&d);
    free(data);
}

int main(void)
{
    static const char *const files[] = { "__0_0.distcp", "__1_0.distcp" };
    char made[] = "check_dcp.XXXXXX", path[512], from[512], *data;
    wan_dcp *d = NULL;
    size_t n;
    dir = mkdtemp(made);
    ok(!wan_dcp_is("tests/data/ref/net_b/transformer") && wan_dcp_is(DIR), "told by its .metadata");
    if (ok(wan_dcp_open(&d, DIR) == 0, "open (%s)", wan_err_text())) {
        rows(d, "decoder.layers.full_self_attention.linear_qkv.weight");
        rows(d, "decoder.layers.mlp.linear_fc2.weight");
        rows(d, "patch_embedding.bias");
    }
    wan_dcp_close(&d);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, DIR "/%s", files[i]);
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        if (ok(wan_slurp(&data, &n, from, 1 << 24) == 0 && wan_spew(path, data, n) == 0, "copy"))
            free(data);
    }
    spoil(".metadata", 29);
    turned();
    cut_file();
    wan_remove_tree(dir);
    return tap_done();
}
