/* SPDX-License-Identifier: Apache-2.0
 *
 * recordcache.h - a folder of records under the digests of what they were made from.
 *
 * An entry is the file DIR/ab/abcd....wan, a record stream of one record whose key is the digest: its own
 * checksums say whether it is whole, and its key whether it is the one that was meant.  It gets its name
 * when it is, so that a program that is killed leaves nothing that could be taken for one; several may
 * read and write a folder at the same time.
 */
#ifndef WAN_REC_RECORDCACHE_H
#define WAN_REC_RECORDCACHE_H

#include "lib/rec/record/record.h"

enum wan_recordcache_found { WAN_RECORDCACHE_NONE, WAN_RECORDCACHE_FOUND, WAN_RECORDCACHE_DAMAGED };

/* r (cleared first) gets what is kept in dir under this digest of 64 hexadecimal digits.  DAMAGED: an entry is
 * there but cannot be used, wan_err_text() says why.  -1: out of memory. */
int wan_recordcache_get(const char *dir, const char *hex, wan_record *r) WAN_MUST_CHECK;
/* Keeps the metadata and tensors of r, in place of what is there; its key does not matter.  0 too where another
 * process is just writing the same entry. */
int wan_recordcache_put(const char *dir, const char *hex, const wan_record *r) WAN_MUST_CHECK;

#endif
