/* SPDX-License-Identifier: Apache-2.0
 *
 * record_format.h - the bytes of wan-record(5), between the files that read and write them, and what keys may be.
 *
 *     record  = head (64 bytes)  front  payload        length a multiple of 64
 *     front   = key 0..7  meta 0..7  table 0..63       (0..n: zero bytes up to the next multiple)
 *     table   = { entry (32 bytes)  shape (8 * rank)  name 0..7 } * tensors
 *     payload = { tensor 0..63 } * tensors
 */
#ifndef WAN_REC_RECORD_FORMAT_H
#define WAN_REC_RECORD_FORMAT_H

#include "lib/base/le.h"
#include "lib/rec/record/record.h"

#define WAN_HEAD_BYTES 64
#define WAN_ENTRY_BYTES 32
#define WAN_RECORD_MAJOR 1
#define WAN_RECORD_MINOR 0
#define WAN_MAX_ENTRY (WAN_ENTRY_BYTES + 8 * WAN_MAX_RANK + WAN_MAX_NAME + 1)
#define WAN_MAX_TABLE ((uint32_t)WAN_MAX_TENSORS * WAN_MAX_ENTRY)
#define WAN_FLAGS_CRITICAL 0x0000ffffu /* an unknown one of these must be refused */

enum wan_record_type { WAN_T_HEAD, WAN_T_DATA, WAN_T_DONE, WAN_T_IGNORE };

typedef struct wan_head {
    enum wan_record_type type;
    char name[4]; /* the type as written */
    uint32_t flags;
    uint64_t length;  /* of the whole record */
    uint64_t ordinal; /* records before this one in its stream */
    uint32_t key_len, meta_len, table_len, tensors;
    uint32_t front_crc, payload_crc;
} wan_head;

static inline uint64_t wan_align(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes from the end of the head to the first tensor. */
static inline uint64_t wan_head_front(const wan_head *h)
{
    return wan_align(wan_align(h->key_len, 8) + wan_align(h->meta_len, 8) + h->table_len, 64);
}

void wan_head_encode(uint8_t out[WAN_HEAD_BYTES], const wan_head *h);
/* Checks everything a head alone can be checked for.  -1 with the reason only. */
int wan_head_decode(wan_head *h, const uint8_t in[WAN_HEAD_BYTES]) WAN_MUST_CHECK;

/* Writes t's table entry at p, its data at [begin, begin + bytes) of the record; returns the
 * entry's size.  p NULL: only the size. */
size_t wan_entry_encode(uint8_t *p, const wan_tensor *t, uint64_t begin);
/* Reads the entry at p (at most n bytes) into t (name malloc'ed, data NULL) and *begin; returns
 * its size, 0 with the reason recorded. */
size_t wan_entry_decode(wan_tensor *t, uint64_t *begin, const uint8_t *p, size_t n);

/* Writes a record whose front and payload are at hand; ordinal and checksums are filled in. */
int wan_writer_raw(wan_writer *w, wan_head *h, const uint8_t *front, const uint8_t *payload)
    WAN_MUST_CHECK;

/* -1 with the reason when the key or tensor name breaks the rules of record.h. */
int wan_key_check(const char *key, size_t n) WAN_MUST_CHECK;
int wan_tensor_name_check(const char *name, size_t n) WAN_MUST_CHECK;

#endif
