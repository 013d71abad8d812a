/* SPDX-License-Identifier: Apache-2.0
 *
 * record_format.c - encoding and checking of record heads and table entries (wan-record(5)).
 */
#include "lib/rec/record/record_format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"

static const uint8_t magic[6] = { 0x89, 'W', 'A', 'N', '\r', '\n' };
static const char *const type_name[] = { "HEAD", "DATA", "DONE" };

void wan_head_encode(uint8_t out[WAN_HEAD_BYTES], const wan_head *h)
{
    memset(out, 0, WAN_HEAD_BYTES);
    memcpy(out, magic, sizeof magic);
    out[6] = WAN_RECORD_MAJOR;
    out[7] = WAN_RECORD_MINOR;
    memcpy(out + 8, h->type == WAN_T_IGNORE ? h->name : type_name[h->type], 4);
    wan_le_put32(out + 12, h->flags);
    wan_le_put64(out + 16, h->length);
    wan_le_put64(out + 24, h->ordinal);
    wan_le_put32(out + 32, h->key_len);
    wan_le_put32(out + 36, h->meta_len);
    wan_le_put32(out + 40, h->table_len);
    wan_le_put32(out + 44, h->tensors);
    wan_le_put32(out + 48, h->front_crc);
    wan_le_put32(out + 52, h->payload_crc);
    wan_le_put32(out + 60, wan_crc32c(0, out, 60));
}

/* Bit 5 of the first letter (lower case) marks a type that may be ignored, as in PNG. */
static int decode_type(wan_head *h, const uint8_t *in)
{
    memcpy(h->name, in, 4);
    for (int i = 0; i < 4; i++)
        if ((in[i] < 'A' || in[i] > 'Z') && (in[i] < 'a' || in[i] > 'z'))
            return wan_err("bad record type");
    for (int t = WAN_T_HEAD; t <= WAN_T_DONE; t++)
        if (!memcmp(in, type_name[t], 4)) {
            h->type = (enum wan_record_type)t;
            return 0;
        }
    if (!(in[0] & 0x20))
        return wan_err("unknown record type \"%.4s\" that must not be ignored", (const char *)in);
    h->type = WAN_T_IGNORE;
    return 0;
}

static int check_caps(const wan_head *h)
{
    if (h->length > WAN_MAX_RECORD)
        return wan_err("%" PRIu64 " bytes, more than the allowed 2^36", h->length);
    if (h->key_len > WAN_MAX_KEY)
        return wan_err("key of %u bytes, more than the allowed %d", h->key_len, WAN_MAX_KEY);
    if (h->meta_len > WAN_MAX_JSON)
        return wan_err("metadata of %u bytes, more than the allowed %u", h->meta_len, WAN_MAX_JSON);
    if (h->tensors > WAN_MAX_TENSORS)
        return wan_err("%u tensors, more than the allowed %d", h->tensors, WAN_MAX_TENSORS);
    if (h->table_len > WAN_MAX_TABLE)
        return wan_err("tensor table of %u bytes, more than the allowed %u", h->table_len,
                       WAN_MAX_TABLE);
    if (h->length % 64 || h->length < WAN_HEAD_BYTES + wan_head_front(h))
        return wan_err("its length %" PRIu64 " does not fit its parts", h->length);
    return 0;
}

int wan_head_decode(wan_head *h, const uint8_t in[WAN_HEAD_BYTES])
{
    memset(h, 0, sizeof *h);
    if (memcmp(in, magic, sizeof magic))
        return wan_err("not a record (no magic number: not a wan-record stream?)");
    if (wan_le_get32(in + 60) != wan_crc32c(0, in, 60))
        return wan_err("bad checksum of the record head");
    if (in[6] != WAN_RECORD_MAJOR)
        return wan_err("format version %d.%d, this program reads version %d", in[6], in[7],
                       WAN_RECORD_MAJOR);
    WAN_TRY(decode_type(h, in + 8));
    h->flags = wan_le_get32(in + 12);
    h->length = wan_le_get64(in + 16);
    h->ordinal = wan_le_get64(in + 24);
    h->key_len = wan_le_get32(in + 32);
    h->meta_len = wan_le_get32(in + 36);
    h->table_len = wan_le_get32(in + 40);
    h->tensors = wan_le_get32(in + 44);
    h->front_crc = wan_le_get32(in + 48);
    h->payload_crc = wan_le_get32(in + 52);
    if (h->flags & WAN_FLAGS_CRITICAL || wan_le_get32(in + 56))
        return wan_err("unknown flags 0x%x that must not be ignored",
                       h->flags & WAN_FLAGS_CRITICAL);
    return check_caps(h);
}

size_t wan_entry_encode(uint8_t *p, const wan_tensor *t, uint64_t begin)
{
    size_t name_len = strlen(t->name);
    size_t size = wan_align(WAN_ENTRY_BYTES + 8 * (size_t)t->rank + name_len, 8);
    if (!p)
        return size;
    memset(p, 0, size);
    const char *type = wan_dtype_name(t->dtype);
    memcpy(p, type, strlen(type));
    wan_le_put64(p + 8, begin);
    wan_le_put64(p + 16, begin + t->bytes);
    wan_le_put16(p + 24, (uint16_t)name_len);
    p[26] = (uint8_t)t->rank;
    for (int i = 0; i < t->rank; i++)
        wan_le_put64(p + WAN_ENTRY_BYTES + 8 * i, (uint64_t)t->shape[i]);
    memcpy(p + WAN_ENTRY_BYTES + 8 * t->rank, t->name, name_len);
    return size;
}

static int all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return 0;
    return 1;
}

static int decode_shape(wan_tensor *t, const uint8_t *p)
{
    for (int i = 0; i < t->rank; i++) {
        uint64_t d = wan_le_get64(p + 8 * i);
        if (d > INT64_MAX)
            return wan_err("tensor dimension %" PRIu64 " is too large", d);
        t->shape[i] = (int64_t)d;
    }
    int64_t count;
    WAN_TRY(wan_shape_count(&count, t->shape, t->rank));
    t->bytes = (size_t)count * wan_dtype_size(t->dtype);
    return 0;
}

size_t wan_entry_decode(wan_tensor *t, uint64_t *begin, const uint8_t *p, size_t n)
{
    memset(t, 0, sizeof *t);
    if (n < WAN_ENTRY_BYTES)
        return wan_err("tensor table too short"), 0;
    char type[9] = { 0 };
    memcpy(type, p, 8);
    size_t name_len = wan_le_get16(p + 24), shape_len = 8 * (size_t)p[26];
    size_t used = WAN_ENTRY_BYTES + shape_len + name_len, size = wan_align(used, 8);
    t->rank = p[26];
    if (t->rank > WAN_MAX_RANK)
        return wan_err("tensor of rank %d, more than the allowed %d", t->rank, WAN_MAX_RANK), 0;
    if (size > n)
        return wan_err("tensor table too short"), 0;
    if (!all_zero(p + 27, 5) || !all_zero(p + strlen(type), 8 - strlen(type)) ||
        !all_zero(p + used, size - used))
        return wan_err("padding in the tensor table is not zero"), 0;
    const char *name = (const char *)p + WAN_ENTRY_BYTES + shape_len;
    if (wan_dtype_parse(&t->dtype, type) < 0 || wan_tensor_name_check(name, name_len) < 0 ||
        decode_shape(t, p + WAN_ENTRY_BYTES) < 0)
        return 0;
    *begin = wan_le_get64(p + 8);
    if (wan_le_get64(p + 16) - *begin != t->bytes)
        return wan_err("tensor %.*s: its extent does not match its shape", (int)name_len, name), 0;
    t->name = strndup(name, name_len);
    if (!t->name)
        return wan_err("out of memory (tensor name)"), 0;
    return size;
}
