/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_load.c - reads tokenizer.json where there is one, else spiece.model in the way
 * HuggingFace converts it to a fast tokenizer (no byte fallback; sentinels appended).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/text/tokenizer_spec.h"

#define MAX_FILE (256u << 20)
#define MAX_PIECES (1 << 24)
#define META "\xe2\x96\x81" /* U+2581 */

/* ---- building */

static char *copy_of(const char *s, size_t n)
{
    char *p = malloc(n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

/* Where a token ends in the middle of a character, the text behind it is none. */
static int check_text(const char *s, size_t n, const wan_tokenizer *t, const char *path)
{
    uint32_t c;
    for (size_t i = 0, len; i < n; i += len)
        if (!(len = wan_utf8_next(&c, s + i, n - i)) || !c)
            return wan_err("%s: piece %d is not UTF-8", path, (int)t->n_pieces);
    return 0;
}

static int add_piece(wan_tokenizer *t, const char *s, size_t n, double score, const char *path)
{
    WAN_TRY(check_text(s, n, t, path));
    if (t->n_pieces == t->cap_pieces) {
        int32_t cap = t->cap_pieces ? 2 * t->cap_pieces : 1024;
        tok_piece *grown =
            cap > MAX_PIECES ? NULL : realloc(t->pieces, (size_t)cap * sizeof *grown);
        if (!grown)
            return wan_err("%s: too many pieces", path);
        t->pieces = grown;
        t->cap_pieces = cap;
    }
    tok_piece *p = &t->pieces[t->n_pieces];
    *p = (tok_piece){ copy_of(s, n), n, score };
    if (!p->s)
        return wan_err("%s: out of memory", path);
    t->n_pieces++;
    t->longest = n > t->longest ? n : t->longest;
    t->min_score = t->n_pieces == 1 || score < t->min_score ? score : t->min_score;
    return 0;
}

static int add_token(wan_tokenizer *t, const char *s, int32_t id, int lstrip, int rstrip)
{
    if (!*s)
        return wan_err("tokenizer: an empty special token");
    if (t->n_added == t->cap_added) {
        int cap = t->cap_added ? 2 * t->cap_added : 64;
        tok_added *grown = realloc(t->added, (size_t)cap * sizeof *grown);
        if (!grown)
            return wan_err("out of memory");
        t->added = grown;
        t->cap_added = cap;
    }
    size_t n = strlen(s);
    char *copy = copy_of(s, n);
    if (!copy)
        return wan_err("out of memory");
    t->added[t->n_added++] = (tok_added){ copy, n, id, lstrip, rstrip };
    return 0;
}

static int add_norm(wan_tokenizer *t, tok_norm m, const char *from, const char *to,
                    const char *path)
{
    if (t->n_norm == (int)(sizeof t->norm / sizeof *t->norm))
        return wan_err("%s: too many normalisers", path);
    m.from = from ? copy_of(from, strlen(from)) : NULL;
    m.to = to ? copy_of(to, strlen(to)) : NULL;
    t->norm[t->n_norm++] = m; /* from here on close frees them */
    return (from && !m.from) || (to && !m.to) ? wan_err("%s: out of memory", path) : 0;
}

/* ---- spiece.model: protocol buffers, only the fields that are needed */

typedef struct proto {
    const uint8_t *p, *end;
} proto;

static int read_varint(proto *m, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && m->p < m->end; shift += 7) {
        uint8_t b = *m->p++;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return 0;
    }
    return -1;
}

/* 1 a field, 0 the end, -1 damaged.  Numbers go to *v, bytes to *sub. */
static int read_field(proto *m, uint32_t *field, uint64_t *v, proto *sub)
{
    uint64_t key, n;
    if (m->p == m->end)
        return 0;
    if (read_varint(m, &key) < 0)
        return -1;
    *field = (uint32_t)(key >> 3);
    *v = 0;
    sub->p = sub->end = m->p;
    switch (key & 7) {
    case 0: return read_varint(m, v) < 0 ? -1 : 1;
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
        if (read_varint(m, &n) < 0)
            return -1;
        break;
    default: return -1;
    }
    if (n > (uint64_t)(m->end - m->p))
        return -1;
    *sub = (proto){ m->p, m->p + n };
    if ((key & 7) == 5)
        *v = m->p[0] | m->p[1] << 8 | m->p[2] << 16 | (uint64_t)m->p[3] << 24;
    m->p += n;
    return 1;
}

static int read_piece(wan_tokenizer *t, proto m, int *unk, const char *path)
{
    uint32_t field, bits = 0;
    uint64_t v, type = 1;
    proto sub, text = { NULL, NULL };
    int rc;
    while ((rc = read_field(&m, &field, &v, &sub)) > 0) {
        if (field == 1)
            text = sub;
        else if (field == 2)
            bits = (uint32_t)v;
        else if (field == 3)
            type = v;
    }
    float score;
    memcpy(&score, &bits, sizeof score);
    if (rc < 0 || !text.p || !(score - score == 0))
        return wan_err("%s: piece %d is damaged", path, (int)t->n_pieces);
    WAN_TRY(add_piece(t, (const char *)text.p, (size_t)(text.end - text.p), score, path));
    if (type == 2)
        *unk = t->n_pieces - 1;
    return type >= 2 && type <= 4 /* unknown, control, user-defined */
               ? add_token(t, t->pieces[t->n_pieces - 1].s, t->n_pieces - 1, 0, 0)
               : 0;
}

static int read_trainer(proto m, const char *path)
{
    uint32_t field;
    uint64_t v, type = 1;
    proto sub;
    int rc;
    while ((rc = read_field(&m, &field, &v, &sub)) > 0)
        if (field == 3)
            type = v;
    if (rc < 0 || type != 1)
        return wan_err("%s: not a SentencePiece Unigram model", path);
    return 0;
}

static int read_normaliser(wan_tokenizer *t, proto m, const char *path)
{
    uint32_t field;
    uint64_t v;
    proto sub;
    int rc;
    while ((rc = read_field(&m, &field, &v, &sub)) > 0)
        if (field == 2 && t->trie)
            return wan_err("%s: more than one normaliser", path);
        else if (field == 2 && sub.end > sub.p) {
            WAN_TRY(wan_tokenizer_charsmap(t, sub.p, (size_t)(sub.end - sub.p), path));
            WAN_TRY(add_norm(t, (tok_norm){ .kind = TOK_CHARSMAP }, NULL, NULL, path));
        }
    return rc < 0 ? wan_err("%s: the normaliser is damaged", path) : 0;
}

static int parse_spiece(wan_tokenizer *t, const char *data, size_t size, const char *path)
{
    proto m = { (const uint8_t *)data, (const uint8_t *)data + size }, sub;
    uint32_t field;
    uint64_t v;
    int rc, unk = -1;
    while ((rc = read_field(&m, &field, &v, &sub)) > 0) {
        if (field == 1)
            WAN_TRY(read_piece(t, sub, &unk, path));
        else if (field == 2)
            WAN_TRY(read_trainer(sub, path));
        else if (field == 3)
            WAN_TRY(read_normaliser(t, sub, path));
    }
    if (rc < 0)
        return wan_err("%s: damaged: not a SentencePiece model", path);
    t->unk = unk;
    WAN_TRY(add_norm(t, (tok_norm){ .kind = TOK_STRIP, .right = 1 }, NULL, NULL, path));
    WAN_TRY(add_norm(t, (tok_norm){ .kind = TOK_SPACES }, NULL, META, path));
    t->metaspace = 1;
    t->prepend = TOK_ALWAYS;
    return 0;
}

/* Sentinels <extra_id_N-1> .. <extra_id_0> behind the pieces; N from tokenizer_config.json. */
static int add_sentinels(wan_tokenizer *t, const char *dir)
{
    int64_t n = 100; /* T5's default */
    char *path = wan_path_join(dir, "tokenizer_config.json");
    int rc = path ? 0 : -1;
    if (path && wan_exists(path)) {
        json_t *j = wan_json_load(path);
        rc = j ? wan_json_int(j, "extra_ids", 100, 0, 10000, &n, path) : -1;
        json_decref(j);
    }
    for (int64_t i = n; rc == 0 && i-- > 0;) {
        char name[32];
        snprintf(name, sizeof name, "<extra_id_%d>", (int)i);
        rc = add_piece(t, name, strlen(name), 0, path);
        if (rc == 0)
            rc = add_token(t, name, t->n_pieces - 1, 0, 0);
    }
    free(path);
    return rc;
}

/* ---- tokenizer.json */

static const char *word_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

/* Standard base64, padding optional; *n bytes, malloc'ed, NULL when it is not base64. */
static uint8_t *decode_base64(const char *s, size_t *n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *out = malloc(strlen(s) / 4 * 3 + 4);
    uint32_t bits = 0;
    int have = 0;
    *n = 0;
    for (; out && *s && *s != '='; s++) {
        const char *d = strchr(digits, *s);
        if (!d) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)(d - digits);
        if ((have += 6) >= 8)
            out[(*n)++] = (uint8_t)(bits >> (have -= 8));
    }
    return out;
}

static int read_replace(wan_tokenizer *t, const json_t *j, const char *path)
{
    const json_t *pattern = json_object_get(j, "pattern");
    const char *regex = word_of(pattern, "Regex"), *string = word_of(pattern, "String");
    if (!strcmp(regex, " {2,}"))
        return add_norm(t, (tok_norm){ .kind = TOK_SPACES }, NULL, word_of(j, "content"), path);
    if (!*regex && *string)
        return add_norm(t, (tok_norm){ .kind = TOK_REPLACE }, string, word_of(j, "content"), path);
    return wan_err("%s: normaliser Replace with pattern \"%s\" is not supported", path, regex);
}

static int read_json_norm(wan_tokenizer *t, const json_t *j, const char *path)
{
    const char *type = word_of(j, "type");
    if (!j || json_is_null(j))
        return 0;
    if (!strcmp(type, "Sequence")) {
        const json_t *list = json_object_get(j, "normalizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            WAN_TRY(read_json_norm(t, json_array_get(list, i), path));
        return 0;
    }
    if (!strcmp(type, "Strip"))
        return add_norm(t,
                        (tok_norm){ .kind = TOK_STRIP,
                                    .left = json_is_true(json_object_get(j, "strip_left")),
                                    .right = json_is_true(json_object_get(j, "strip_right")) },
                        NULL, NULL, path);
    if (!strcmp(type, "Replace"))
        return read_replace(t, j, path);
    if (strcmp(type, "Precompiled") || t->trie)
        return wan_err("%s: normaliser \"%s\" is not supported", path, type);
    size_t n;
    uint8_t *map = decode_base64(word_of(j, "precompiled_charsmap"), &n);
    int rc = map ? n ? wan_tokenizer_charsmap(t, map, n, path) : 0
                 : wan_err("%s: precompiled_charsmap is not base64", path);
    free(map);
    return rc < 0 || !t->trie ? rc
                              : add_norm(t, (tok_norm){ .kind = TOK_CHARSMAP }, NULL, NULL, path);
}

static int read_json_pre(wan_tokenizer *t, const json_t *j, const char *path)
{
    const char *type = word_of(j, "type"), *scheme = word_of(j, "prepend_scheme");
    if (!strcmp(type, "Sequence")) {
        const json_t *list = json_object_get(j, "pretokenizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            WAN_TRY(read_json_pre(t, json_array_get(list, i), path));
        return 0;
    }
    if (!strcmp(type, "WhitespaceSplit") && !t->metaspace) {
        t->white_split = 1;
        return 0;
    }
    if (strcmp(type, "Metaspace") || strcmp(word_of(j, "replacement"), META) || t->metaspace ||
        json_is_false(json_object_get(j, "split")))
        return wan_err("%s: pre-tokeniser \"%s\" as it is set up is not supported", path, type);
    t->metaspace = 1;
    t->prepend = *scheme ? !strcmp(scheme, "always")  ? TOK_ALWAYS
                           : !strcmp(scheme, "first") ? TOK_FIRST
                                                      : TOK_NEVER
                 : json_is_false(json_object_get(j, "add_prefix_space")) ? TOK_NEVER
                                                                         : TOK_ALWAYS;
    return 0;
}

static int read_json_vocab(wan_tokenizer *t, const json_t *model, const char *path)
{
    const json_t *vocab = json_object_get(model, "vocab"), *e;
    size_t i;
    int64_t unk;
    if (strcmp(word_of(model, "type"), "Unigram") || !json_is_array(vocab))
        return wan_err("%s: not a Unigram tokenizer", path);
    WAN_TRY(wan_json_int(model, "unk_id", -1, 0, MAX_PIECES, &unk, path));
    WAN_TRY(wan_json_bool(model, "byte_fallback", 0, &t->byte_fallback, path));
    json_array_foreach((json_t *)vocab, i, e)
    {
        const json_t *s = json_array_get(e, 0), *score = json_array_get(e, 1);
        if (!json_is_string(s) || !json_is_number(score))
            return wan_err("%s: piece %zu is not [string, score]", path, i);
        WAN_TRY(add_piece(t, json_string_value(s), json_string_length(s), json_number_value(score),
                          path));
    }
    t->unk = (int32_t)unk;
    return 0;
}

static int read_json_added(wan_tokenizer *t, const json_t *list, const char *path)
{
    const json_t *e;
    size_t i;
    json_array_foreach((json_t *)list, i, e)
    {
        int64_t id;
        WAN_TRY(wan_json_int(e, "id", -1, 0, MAX_PIECES, &id, path));
        if (id < 0 || !*word_of(e, "content"))
            return wan_err("%s: added token %zu has no id or content", path, i);
        if (json_is_true(json_object_get(e, "single_word")) ||
            (json_is_true(json_object_get(e, "normalized")) &&
             !json_is_true(json_object_get(e, "special"))))
            return wan_err("%s: added token \"%s\": single_word and normalized are not supported",
                           path, word_of(e, "content"));
        WAN_TRY(add_token(t, word_of(e, "content"), (int32_t)id,
                          json_is_true(json_object_get(e, "lstrip")),
                          json_is_true(json_object_get(e, "rstrip"))));
    }
    return 0;
}

static int parse_json(wan_tokenizer *t, const json_t *j, const char *path)
{
    WAN_TRY(read_json_vocab(t, json_object_get(j, "model"), path));
    WAN_TRY(read_json_added(t, json_object_get(j, "added_tokens"), path));
    WAN_TRY(read_json_norm(t, json_object_get(j, "normalizer"), path));
    WAN_TRY(read_json_pre(t, json_object_get(j, "pre_tokenizer"), path));
    return t->metaspace ? 0 : wan_err("%s: no Metaspace pre-tokeniser", path);
}

/* ---- both */

/* Hash table over the pieces; of equal pieces the last wins, as in the reference. */
static int make_table(wan_tokenizer *t, const char *path)
{
    uint32_t size = 16;
    while (size < 2 * (uint32_t)t->n_pieces)
        size *= 2;
    t->mask = size - 1;
    t->table = calloc(size, sizeof *t->table);
    if (!t->table)
        return wan_err("%s: out of memory", path);
    for (int32_t i = 0; i < t->n_pieces; i++) {
        uint32_t h = 2166136261u;
        for (size_t k = 0; k < t->pieces[i].n; k++)
            h = (h ^ (uint8_t)t->pieces[i].s[k]) * 16777619u;
        h &= t->mask;
        while (t->table[h] &&
               (t->pieces[t->table[h] - 1].n != t->pieces[i].n ||
                memcmp(t->pieces[t->table[h] - 1].s, t->pieces[i].s, t->pieces[i].n)))
            h = (h + 1) & t->mask;
        t->table[h] = i + 1;
    }
    return 0;
}

static int finish(wan_tokenizer *t, const char *path)
{
    WAN_TRY(make_table(t, path));
    t->eos = wan_tokenizer_find(t, "</s>", 4);
    if (t->eos < 0 || t->unk < 0 || t->unk >= t->n_pieces)
        return wan_err("%s: no </s> or no unknown piece", path);
    return 0;
}

static int load(wan_tokenizer *t, const char *dir)
{
    size_t size;
    char *data = NULL, *json = wan_path_join(dir, "tokenizer.json");
    char *path = wan_path_join(dir, "spiece.model");
    int rc = -1;
    if (json && path && wan_exists(json)) {
        json_t *j = wan_json_load(json);
        if (j && parse_json(t, j, json) == 0)
            rc = finish(t, json);
        json_decref(j);
    } else if (json && path && wan_slurp(&data, &size, path, MAX_FILE) == 0) {
        if (parse_spiece(t, data, size, path) == 0 && add_sentinels(t, dir) == 0)
            rc = finish(t, path);
    }
    free(data);
    free(json);
    free(path);
    return rc;
}

int wan_tokenizer_open(wan_tokenizer **out, const char *dir)
{
    *out = NULL;
    wan_tokenizer *t = wan_calloc(1, sizeof *t, "tokenizer");
    if (!t)
        return -1;
    if (load(t, dir) < 0) {
        wan_tokenizer_close(&t);
        return -1;
    }
    *out = t;
    return 0;
}

void wan_tokenizer_close(wan_tokenizer **tp)
{
    wan_tokenizer *t = tp ? *tp : NULL;
    if (!t)
        return;
    for (int32_t i = 0; i < t->n_pieces; i++)
        free(t->pieces[i].s);
    for (int i = 0; i < t->n_added; i++)
        free(t->added[i].s);
    for (int i = 0; i < t->n_norm; i++) {
        free(t->norm[i].from);
        free(t->norm[i].to);
    }
    free(t->pieces);
    free(t->added);
    free(t->table);
    free(t->trie);
    free(t->replacements);
    free(t);
    *tp = NULL;
}
