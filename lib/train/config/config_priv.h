/* SPDX-License-Identifier: Apache-2.0
 *
 * config_priv.h - what the config_*.c share: entries as they were given, and values out of text.
 */
#ifndef WAN_TRAIN_CONFIG_PRIV_H
#define WAN_TRAIN_CONFIG_PRIV_H

#include "lib/train/config/config.h"

enum wan_value_kind {
    WAN_VALUE_NULL,
    WAN_VALUE_PLAIN, /* of a file, without quotes: YAML's numbers and booleans */
    WAN_VALUE_TEXT,  /* in quotes, or of the command line */
    WAN_VALUE_LIST,  /* as flow YAML, "[a, b]" */
};

/* One key as it was given. */
struct wan_config_entry {
    char *key, *text; /* text NULL with NULL */
    enum wan_value_kind kind;
    enum wan_key_source source;
    int layer;
    char *origin;
    int waiting; /* its references are not replaced yet */
    int unknown;
    int asked; /* a reference names it, so that it need not be a key of ours */
};

/* Keeps a copy of the entry; sets its key, or collects the problem. */
int wan_config_give(wan_config *c, const wan_config_entry *e) WAN_MUST_CHECK;
/* The recorded sentence becomes one more problem of the entry. */
int wan_config_problem(wan_config *c, const wan_config_entry *e) WAN_MUST_CHECK;
/* One more key that is accepted without effect. */
int wan_config_note(wan_config *c, const char *key, const char *value, const char *why)
    WAN_MUST_CHECK;
/* Notes the keys that others leave without effect (config_idle.c). */
int wan_config_idle(wan_config *c) WAN_MUST_CHECK;
/* Replaces references in entries that wait for them (config_refs.c). */
int wan_config_resolve(wan_config *c) WAN_MUST_CHECK;
/* Sets the key of an entry whose references are replaced. */
int wan_config_apply(wan_config *c, wan_config_entry *e) WAN_MUST_CHECK;

/* The key of that name, an alias included, or the "section.*" row; -1 when unknown. */
int wan_config_find(const char *name);
/* Whether name.something is a key. */
int wan_config_is_section(const char *name);
/* Records the sentence for an unknown key, with the nearest known one. */
int wan_config_unknown(const char *name);
/* A derived value, with its origin. */
int wan_config_derive(wan_config *c, const char *key, const char *value, const char *origin)
    WAN_MUST_CHECK;
int wan_config_derive_int(wan_config *c, const char *key, int64_t value, const char *origin)
    WAN_MUST_CHECK;
int wan_config_derive_real(wan_config *c, const char *key, double value, const char *origin)
    WAN_MUST_CHECK;

/* ---- config_value.c ---- */

/* The value of key k into *at (not for STR and ANY), its canonical text into text. */
int wan_config_parse(const wan_key *k, void *at, const char *value, enum wan_value_kind kind,
                     const char *what, char *text, size_t size) WAN_MUST_CHECK;
int wan_config_parse_betas(double out[2], const char *value, const char *what) WAN_MUST_CHECK;
/* Whether a NOTED key takes this value. */
int wan_config_accepts(const wan_key *k, const char *value);
/* The shortest decimal that reads back as x. */
void wan_config_real_text(char *s, size_t size, double x);
/* "a|b|c" of an ENUM. */
void wan_config_word_list(const wan_word *words, char *out, size_t size);
/* Bytes of the UTF-8 character at s, *code its number; 0 when it is none. */
int wan_config_utf8(const char *s, uint32_t *code);

#endif
