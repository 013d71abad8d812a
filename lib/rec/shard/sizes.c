/* SPDX-License-Identifier: Apache-2.0
 *
 * sizes.c - reads samples.bin.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/shard/sizes_in.h"

struct wan_sizes {
    char *path;
    const uint8_t *map;
    uint64_t size;
    const struct wan_sizes_header *head;
    const struct wan_sizes_entry *entry;
    const char *name;
};

static int damaged(const wan_sizes *t, const char *what)
{
    return wan_err("%s: %s is damaged; run wan-index again", t->path, what);
}

/* Every place that the header and the table name lies in the file, in its order. */
static int check_layout(wan_sizes *t)
{
    struct wan_sizes_header h;
    if (t->size < sizeof h)
        return damaged(t, "the header");
    memcpy(&h, t->map, sizeof h);
    if (memcmp(h.magic, WAN_SIZES_MAGIC, 8))
        return wan_err("%s: is something else than an index of sizes", t->path);
    uint32_t crc = h.crc;
    h.crc = 0;
    if (wan_crc32c(0, &h, sizeof h) != crc)
        return damaged(t, "the header");
    t->head = (const struct wan_sizes_header *)t->map;
    if (h.version != WAN_SIZES_VERSION)
        return 0;
    if (h.end != t->size || h.table < sizeof h || h.table % 8 || h.table > h.end ||
        h.shards > (h.end - h.table) / sizeof(struct wan_sizes_entry) ||
        h.names != h.table + h.shards * sizeof(struct wan_sizes_entry))
        return damaged(t, "the header");
    if (wan_crc32c(0, t->map + h.table, h.end - h.table) != h.tail_crc)
        return wan_err("%s: the table in bytes %" PRIu64 " to %" PRIu64
                       " is damaged; run wan-index again",
                       t->path, h.table, h.end - 1);
    t->entry = (const struct wan_sizes_entry *)(t->map + h.table);
    t->name = (const char *)(t->map + h.names);
    uint64_t names = h.end - h.names, row = sizeof(uint64_t) + sizeof(wan_sizes_row);
    for (uint64_t i = 0; i < h.shards; i++) {
        const struct wan_sizes_entry *e = &t->entry[i];
        if (e->at < sizeof h || e->at % 8 || e->at > h.table || e->name >= names ||
            !memchr(t->name + e->name, 0, names - e->name) || h.table - e->at < sizeof(uint64_t) ||
            e->n > (h.table - e->at - sizeof(uint64_t)) / row ||
            (i && strcmp(t->name + t->entry[i - 1].name, t->name + e->name) >= 0))
            return damaged(t, "the table");
    }
    return 0;
}

int wan_sizes_open(wan_sizes **out, const char *path)
{
    struct stat st;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : wan_err_errno("%s: cannot open", path);
    wan_sizes *t = wan_calloc(1, sizeof *t, "index of sizes");
    int rc = t && (t->path = strdup(path)) ? 0 : wan_err("out of memory (index of sizes)");
    if (rc == 0 && fstat(fd, &st) < 0)
        rc = wan_err_errno("%s", path);
    if (rc == 0 && (!S_ISREG(st.st_mode) || !st.st_size))
        rc = damaged(t, "the header");
    void *map = rc < 0 ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (rc == 0 && map == MAP_FAILED)
        rc = wan_err_errno("%s: cannot map", path);
    close(fd);
    if (rc == 0) {
        t->map = map;
        t->size = (uint64_t)st.st_size;
        rc = check_layout(t);
    }
    if (rc < 0 || t->head->version != WAN_SIZES_VERSION)
        wan_sizes_close(&t);
    *out = t;
    return rc;
}

uint64_t wan_sizes_count(const wan_sizes *t)
{
    return t->head->shards;
}

int wan_sizes_at(const wan_sizes *t, uint64_t i, wan_sizes_shard *s)
{
    const struct wan_sizes_entry *e = &t->entry[i];
    const uint8_t *block = t->map + e->at;
    uint64_t offsets = (e->n + 1) * sizeof(uint64_t);
    *s = (wan_sizes_shard){ .name = t->name + e->name,
                            .n = e->n,
                            .bytes = e->bytes,
                            .ignored = e->ignored,
                            .other = e->other,
                            .offset = (const uint64_t *)block,
                            .row = (const wan_sizes_row *)(block + offsets) };
    memcpy(s->digest, e->digest, sizeof s->digest);
    if (wan_crc32c(0, block, offsets + e->n * sizeof(wan_sizes_row)) != e->crc)
        return wan_err("%s: what it says of %s in bytes %" PRIu64 " to %" PRIu64
                       " is damaged; run wan-index again",
                       t->path, s->name, e->at, e->at + offsets + e->n * sizeof(wan_sizes_row) - 1);
    return 0;
}

int wan_sizes_find(const wan_sizes *t, const char *name, wan_sizes_shard *s)
{
    uint64_t lo = 0, hi = t->head->shards;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int c = strcmp(t->name + t->entry[mid].name, name);
        if (!c)
            return wan_sizes_at(t, mid, s) < 0 ? -1 : 1;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

void wan_sizes_close(wan_sizes **pt)
{
    wan_sizes *t = *pt;
    if (!t)
        return;
    if (t->map)
        munmap((void *)t->map, (size_t)t->size);
    free(t->path);
    free(t);
    *pt = NULL;
}
