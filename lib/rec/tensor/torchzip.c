/* SPDX-License-Identifier: Apache-2.0
 *
 * torchzip.c - zip directory reader, zip64 included.
 */
#include "lib/rec/tensor/torchzip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"

enum { LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR64 = 20, END64 = 56 };

static uint64_t le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int is(const uint8_t *p, uint8_t a, uint8_t b)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b;
}

struct directory {
    uint64_t entries, size, offset;
};

/* The zip64 end record, when its locator stands in front of the classic one. */
static int find_end64(struct directory *d, const uint8_t *b, uint64_t end)
{
    if (end < LOCATOR64 || !is(b + end - LOCATOR64, 6, 7))
        return d->offset == 0xffffffff || d->size == 0xffffffff || d->entries == 0xffff
                   ? wan_err("zip64 end record is missing")
                   : 0;
    uint64_t at = le(b + end - LOCATOR64 + 8, 8);
    uint64_t room = end - LOCATOR64;
    if (at > room || room - at < END64 || !is(b + at, 6, 6) || le(b + at + 4, 8) != room - at - 12)
        return wan_err("zip64 end record is damaged");
    struct directory big = { le(b + at + 32, 8), le(b + at + 40, 8), le(b + at + 48, 8) };
    if (le(b + at + 24, 8) != big.entries || (d->entries != 0xffff && d->entries != big.entries) ||
        (d->size != 0xffffffff && d->size != big.size) ||
        (d->offset != 0xffffffff && d->offset != big.offset))
        return wan_err("the two zip end records disagree");
    *d = big;
    return big.offset > at || big.size != at - big.offset ? wan_err("zip directory is damaged") : 0;
}

/* The end record is the last thing in the file; only a comment may follow it. */
static int find_directory(struct directory *d, const uint8_t *b, uint64_t n)
{
    if (n < END || !is(b, 3, 4))
        return wan_err("not a zip archive");
    uint64_t end = n - END, stop = n > 65557 ? n - 65557 : 0;
    while (!(is(b + end, 5, 6) && le(b + end + 20, 2) == n - END - end)) {
        if (end == stop)
            return wan_err("truncated: no zip end record");
        end--;
    }
    if (le(b + end + 4, 4) || le(b + end + 8, 2) != le(b + end + 10, 2))
        return wan_err("a zip archive in several parts");
    d->entries = le(b + end + 10, 2);
    d->size = le(b + end + 12, 4);
    d->offset = le(b + end + 16, 4);
    WAN_TRY(find_end64(d, b, end));
    if (d->offset > end || d->size > end - d->offset || d->entries > d->size / CENTRAL)
        return wan_err("zip directory is damaged");
    return 0;
}

/* Replaces the saturated ones of usize, csize, offset from the zip64 extra field. */
static int read_zip64(const uint8_t *extra, uint64_t n, uint64_t *field[3])
{
    int need = 0;
    for (int i = 0; i < 3; i++)
        need += *field[i] == 0xffffffff;
    while (need && n >= 4) {
        uint64_t len = le(extra + 2, 2);
        if (len > n - 4)
            break;
        if (le(extra, 2) == 1) {
            const uint8_t *p = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != 0xffffffff)
                    continue;
                if (len < 8)
                    return wan_err("zip64 field is too short");
                *field[i] = le(p, 8);
                p += 8;
                len -= 8;
            }
            return 0;
        }
        extra += 4 + len;
        n -= 4 + len;
    }
    return need ? wan_err("zip64 field is missing") : 0;
}

/* One entry of the directory at c (room bytes left); returns its length in *used. */
static int read_entry(wan_torchzip_entry *e, const uint8_t *b, const struct directory *d,
                      const uint8_t *c, uint64_t room, uint64_t *used)
{
    if (room < CENTRAL || !is(c, 1, 2))
        return wan_err("zip directory is damaged");
    uint64_t name_len = le(c + 28, 2), extra = le(c + 30, 2), comment = le(c + 32, 2);
    *used = CENTRAL + name_len + extra + comment;
    if (*used > room)
        return wan_err("zip directory is damaged");
    uint64_t usize = le(c + 24, 4), csize = le(c + 20, 4), at = le(c + 42, 4);
    uint64_t *field[3] = { &usize, &csize, &at };
    WAN_TRY(read_zip64(c + CENTRAL + name_len, extra, field));
    e->name = (const char *)c + CENTRAL;
    e->name_len = name_len;
    if (!name_len || memchr(e->name, 0, name_len))
        return wan_err("a zip entry with a bad name");
    if (le(c + 10, 2) || csize != usize)
        return wan_err("entry %.*s: compressed; torch stores its entries", (int)name_len, e->name);
    if (le(c + 8, 2) & 1)
        return wan_err("entry %.*s: encrypted", (int)name_len, e->name);
    if (at > d->offset || d->offset - at < LOCAL || !is(b + at, 3, 4))
        return wan_err("entry %.*s: no local header", (int)name_len, e->name);
    uint64_t skip = LOCAL + le(b + at + 26, 2) + le(b + at + 28, 2);
    if (skip > d->offset - at || le(b + at + 26, 2) != name_len ||
        memcmp(b + at + LOCAL, e->name, name_len))
        return wan_err("entry %.*s: the two headers disagree", (int)name_len, e->name);
    if (usize > d->offset - at - skip)
        return wan_err("entry %.*s: reaches over the directory", (int)name_len, e->name);
    e->data = b + at + skip;
    e->size = usize;
    e->crc = (uint32_t)le(c + 16, 4);
    return 0;
}

/* Cuts "archive/" off every name. */
static int strip_prefix(wan_torchzip *z)
{
    const char *slash = memchr(z->entry[0].name, '/', z->entry[0].name_len);
    if (!slash || slash == z->entry[0].name)
        return wan_err("zip entries lack torch's folder name");
    const char *first = z->entry[0].name;
    size_t len = (size_t)(slash + 1 - first);
    for (size_t i = 0; i < z->n; i++) {
        wan_torchzip_entry *e = &z->entry[i];
        if (e->name_len < len || memcmp(e->name, first, len))
            return wan_err("entry %.*s: in another folder", (int)e->name_len, e->name);
        e->name += len;
        e->name_len -= len;
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const wan_torchzip_entry *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int by_name(const void *a, const void *b)
{
    const wan_torchzip_entry *x = a, *y = b;
    size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
    int c = memcmp(x->name, y->name, n);
    return c ? c : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static int check_disjoint(wan_torchzip *z)
{
    qsort(z->entry, z->n, sizeof *z->entry, by_place);
    for (size_t i = 1; i < z->n; i++) {
        const wan_torchzip_entry *a = &z->entry[i - 1], *b = &z->entry[i];
        if ((size_t)(b->data - a->data) < a->size + LOCAL)
            return wan_err("entry %.*s: overlaps another", (int)b->name_len, b->name);
    }
    qsort(z->entry, z->n, sizeof *z->entry, by_name);
    for (size_t i = 1; i < z->n; i++)
        if (!by_name(&z->entry[i - 1], &z->entry[i]))
            return wan_err("entry %.*s: occurs twice", (int)z->entry[i].name_len, z->entry[i].name);
    return 0;
}

static int parse(wan_torchzip *z, const uint8_t *b, size_t n)
{
    struct directory d = { 0, 0, 0 };
    WAN_TRY(find_directory(&d, b, n));
    if (!d.entries)
        return wan_err("the zip archive is empty");
    z->entry = wan_calloc(d.entries, sizeof *z->entry, "zip directory");
    if (!z->entry)
        return -1;
    uint64_t at = 0, used = 0;
    for (z->n = 0; z->n < d.entries; z->n++, at += used)
        WAN_TRY(read_entry(&z->entry[z->n], b, &d, b + d.offset + at, d.size - at, &used));
    if (at != d.size)
        return wan_err("zip directory is damaged");
    WAN_TRY(strip_prefix(z));
    return check_disjoint(z);
}

int wan_torchzip_parse(wan_torchzip *z, const void *data, size_t n)
{
    memset(z, 0, sizeof *z);
    if (parse(z, data, n) == 0)
        return 0;
    wan_torchzip_clear(z);
    return -1;
}

const wan_torchzip_entry *wan_torchzip_find(const wan_torchzip *z, const char *name, size_t len)
{
    wan_torchzip_entry want = { .name = name, .name_len = len };
    return bsearch(&want, z->entry, z->n, sizeof want, by_name);
}

int wan_torchzip_verify(const wan_torchzip_entry *e)
{
    if (e->crc && wan_crc32(0, e->data, e->size) != e->crc)
        return wan_err("entry %.*s: bad checksum", (int)e->name_len, e->name);
    return 0;
}

void wan_torchzip_clear(wan_torchzip *z)
{
    free(z->entry);
    z->entry = NULL;
    z->n = 0;
}
