/* SPDX-License-Identifier: Apache-2.0
 *
 * record_st.h - records as safetensors files, one each, for exchange with Python.
 *
 * The tensors are the file's tensors.  Its __metadata__ carries the key as "wan_key", the metadata
 * as JSON in "wan_meta" and the header of the stream it came from in "wan_header", so that a record
 * comes back as it was.  Files of other origin have none of these and are read all the same.
 */
#ifndef WAN_REC_RECORD_ST_H
#define WAN_REC_RECORD_ST_H

#include "lib/rec/record/record.h"
#include "lib/rec/tensor/safetensors.h"

/* Writes rec to path ("-": standard output); header is that of its stream (borrowed). */
int wan_record_st_write(const char *path, const wan_record *rec, const json_t *header)
    WAN_MUST_CHECK;
/* Fills rec from st; its data is borrowed and ends with st.  key NULL: the file's own, else made
 * from the file's name.  Metadata of other origin is kept as strings.  -1 with "FILE: reason". */
int wan_record_st_read(wan_record *rec, wan_st *st, const char *file, const char *key)
    WAN_MUST_CHECK;
/* The header the file carries in *header (new reference), NULL when it carries none. */
int wan_record_st_header(json_t **header, wan_st *st, const char *file) WAN_MUST_CHECK;

#endif
