/* SPDX-License-Identifier: Apache-2.0
 *
 * sizes_write.c - writes samples.bin: blocks as they come, table and header at the end, so that
 * memory holds the shards' names and no sample.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/sizes_in.h"

struct line {
    struct wan_sizes_entry e;
    char *name; /* owned */
};

struct wan_sizes_writer {
    wan_out *out;
    struct line *line;
    size_t n, cap;
    uint64_t at, samples;
    uint32_t tail_crc;
};

static int put(wan_sizes_writer *w, const void *data, size_t n)
{
    if (n && fwrite(data, 1, n, wan_out_file(w->out)) != n)
        return wan_err_errno("%s: cannot write", wan_out_name(w->out));
    w->at += n;
    return 0;
}

int wan_sizes_writer_open(wan_sizes_writer **out, const char *path)
{
    static const struct wan_sizes_header none;
    *out = NULL;
    wan_sizes_writer *w = wan_calloc(1, sizeof *w, "index of sizes");
    if (!w)
        return -1;
    if (wan_out_open(&w->out, path) < 0 || put(w, &none, sizeof none) < 0) {
        wan_sizes_writer_abandon(&w);
        return -1;
    }
    *out = w;
    return 0;
}

static struct line *add_line(wan_sizes_writer *w, const char *name)
{
    struct line *more = wan_mem_grow(w->line, w->n, &w->cap, sizeof *more, "shards");
    if (!more)
        return NULL;
    w->line = more;
    struct line *l = &w->line[w->n];
    *l = (struct line){ .name = strdup(name) };
    if (!l->name) {
        wan_err("out of memory (shards)");
        return NULL;
    }
    w->n++;
    return l;
}

int wan_sizes_writer_put(wan_sizes_writer *w, const wan_sizes_shard *s)
{
    struct line *l = add_line(w, s->name);
    wan_sha256 h;
    if (!l)
        return -1;
    size_t offsets = (size_t)(s->n + 1) * sizeof *s->offset, rows = (size_t)s->n * sizeof *s->row;
    l->e.at = w->at;
    l->e.n = s->n;
    l->e.bytes = s->bytes;
    l->e.ignored = s->ignored;
    l->e.other = s->other;
    l->e.crc = wan_crc32c(wan_crc32c(0, s->offset, offsets), s->row, rows);
    wan_sha256_init(&h);
    wan_sha256_add(&h, s->offset, offsets);
    wan_sha256_bytes(&h, l->e.digest);
    w->samples += s->n;
    WAN_TRY(put(w, s->offset, offsets));
    return put(w, s->row, rows);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct line *)a)->name, ((const struct line *)b)->name);
}

static int put_tail(wan_sizes_writer *w, const void *data, size_t n)
{
    w->tail_crc = wan_crc32c(w->tail_crc, data, n);
    return put(w, data, n);
}

static int put_end(wan_sizes_writer *w)
{
    struct wan_sizes_header h = { .version = WAN_SIZES_VERSION,
                                  .shards = w->n,
                                  .samples = w->samples,
                                  .table = w->at,
                                  .names = w->at + w->n * sizeof(struct wan_sizes_entry) };
    uint64_t name = 0;
    if (w->n)
        qsort(w->line, w->n, sizeof *w->line, by_name);
    for (size_t i = 0; i < w->n; i++) {
        w->line[i].e.name = name;
        name += strlen(w->line[i].name) + 1;
        WAN_TRY(put_tail(w, &w->line[i].e, sizeof w->line[i].e));
    }
    for (size_t i = 0; i < w->n; i++)
        WAN_TRY(put_tail(w, w->line[i].name, strlen(w->line[i].name) + 1));
    memcpy(h.magic, WAN_SIZES_MAGIC, 8);
    h.end = w->at;
    h.tail_crc = w->tail_crc;
    h.crc = wan_crc32c(0, &h, sizeof h);
    if (fseek(wan_out_file(w->out), 0, SEEK_SET) != 0)
        return wan_err_errno("%s: cannot seek", wan_out_name(w->out));
    return put(w, &h, sizeof h);
}

int wan_sizes_writer_finish(wan_sizes_writer **pw)
{
    int rc = put_end(*pw);
    if (rc == 0)
        rc = wan_out_finish(&(*pw)->out);
    wan_sizes_writer_abandon(pw);
    return rc;
}

void wan_sizes_writer_abandon(wan_sizes_writer **pw)
{
    wan_sizes_writer *w = *pw;
    if (!w)
        return;
    wan_out_discard(&w->out);
    for (size_t i = 0; i < w->n; i++)
        free(w->line[i].name);
    free(w->line);
    free(w);
    *pw = NULL;
}
