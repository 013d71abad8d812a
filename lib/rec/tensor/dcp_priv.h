/* SPDX-License-Identifier: Apache-2.0
 *
 * dcp_priv.h - between what .metadata says (dcp.c) and the files of pieces (dcp_read.c).
 */
#ifndef WAN_REC_DCP_PRIV_H
#define WAN_REC_DCP_PRIV_H

#include "lib/rec/tensor/dcp.h"
#include "lib/rec/tensor/pickle.h"

typedef struct wan_dcp_file {
    char *name;
    const uint8_t *map;
    size_t size;
} wan_dcp_file;

/* Bytes [offset, offset + length) of a file: the piece of tensor `name` that begins at `at`. */
typedef struct wan_dcp_piece {
    char *name;
    int rank;
    int64_t at[WAN_MAX_RANK];
    size_t file;
    int64_t offset, length;
} wan_dcp_piece;

/* The box at[i] + [0, size[i]) of a tensor. */
typedef struct wan_dcp_chunk {
    int64_t at[WAN_MAX_RANK], size[WAN_MAX_RANK], count;
    const wan_dcp_piece *piece;
} wan_dcp_chunk;

typedef struct wan_dcp_chunks {
    wan_dcp_chunk *v;
    size_t n;
} wan_dcp_chunks;

struct wan_dcp {
    char *dir;
    wan_dcp_file *files;
    size_t n_files;
    wan_dcp_piece *pieces; /* sorted by name and place */
    size_t n_pieces;
    wan_dcp_tensor *t;
    size_t n;
};

/* Maps every file; each piece is inside of its own. */
int wan_dcp_map(wan_dcp *d) WAN_MUST_CHECK;
void wan_dcp_unmap(wan_dcp *d);

#endif
