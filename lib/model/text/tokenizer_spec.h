/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_spec.h - inside the tokenizer: vocabulary, normaliser and pre-tokeniser as read from
 * the files.  Used by tokenizer*.c only.
 */
#ifndef WAN_MODEL_TOKENIZER_SPEC_H
#define WAN_MODEL_TOKENIZER_SPEC_H

#include "lib/model/text/text.h"
#include "lib/model/text/textbuf.h"

typedef struct tok_piece {
    char *s; /* owned, NUL-terminated (a piece holds no NUL) */
    size_t n;
    double score;
} tok_piece;

/* A token that is cut out of the raw text before anything else is done to it. */
typedef struct tok_added {
    char *s; /* owned */
    size_t n;
    int32_t id;
    int lstrip, rstrip;
} tok_added;

enum tok_norm_kind { TOK_CHARSMAP, TOK_STRIP, TOK_SPACES, TOK_REPLACE };

typedef struct tok_norm {
    enum tok_norm_kind kind;
    int left, right; /* STRIP */
    char *from, *to; /* REPLACE; SPACES has only to: for each run of two or more spaces */
} tok_norm;

enum tok_prepend { TOK_NEVER, TOK_FIRST, TOK_ALWAYS };

struct wan_tokenizer {
    tok_piece *pieces;
    int32_t n_pieces, cap_pieces;
    int32_t *table; /* open addressing: piece index + 1, 0 empty */
    uint32_t mask;
    size_t longest; /* bytes of the longest piece */
    double min_score;
    int32_t unk, eos;
    int byte_fallback;
    tok_added *added;
    int n_added, cap_added;
    tok_norm norm[8];
    int n_norm;
    uint32_t *trie; /* of the precompiled charsmap (XCDA double array) */
    size_t n_trie;
    char *replacements; /* NUL-terminated strings, one after another */
    size_t n_replacements;
    int white_split; /* split at whitespace first */
    int metaspace;   /* split at U+2581, which goes in front of words */
    enum tok_prepend prepend;
};

/* tokenizer_norm.c: text through all normalisers.  n bytes of valid UTF-8. */
int wan_tokenizer_normalise(const wan_tokenizer *t, wan_textbuf *out, const char *s, size_t n)
    WAN_MUST_CHECK;
/* Takes a charsmap as spiece.model stores it; checks it. */
int wan_tokenizer_charsmap(wan_tokenizer *t, const uint8_t *p, size_t n, const char *path)
    WAN_MUST_CHECK;
/* tokenizer.c: index of the piece or -1. */
int32_t wan_tokenizer_find(const wan_tokenizer *t, const char *s, size_t n);

#endif
