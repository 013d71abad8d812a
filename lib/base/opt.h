/* SPDX-License-Identifier: Apache-2.0
 *
 * opt.h - one option table per tool drives parsing, --help (with live defaults), the OPTIONS
 * section of its man page (--help-mdoc; `make man` splices it in, `make check` compares) and the
 * completion of bash and zsh (--help-bash, --help-zsh; made by `make`, tried by tests/cmd/completion.sh).
 *
 *     static struct { int64_t height; const char *out; int force; } o = { .out = "-" };
 *     static const wan_opt table[] = {
 *         WAN_OPT_GROUP("Output"),
 *         WAN_OPT_INT("height", 'H', "PIXELS", &o.height, 16, 8192, "height of the frames"),
 *         WAN_OPT_STR("output", 'o', "FILE", &o.out, "where the records go"),
 *         WAN_OPT_FLAG("force", 'f', &o.force, "write binary data to a terminal"),
 *         WAN_OPT_COMMON,
 *         WAN_OPT_END
 *     };
 *     static const wan_tool tool = { "wan-foo", "does foo", "[options] FILE...", table };
 *     int argi = wan_opt_parse(&tool, argc, argv);     // handles --help, --version, -q, -v itself
 *
 * Long names match with '_' and '-' alike; --no-NAME clears a flag, and so does --NAME False, as
 * Python's scripts have it; --name=value and --name value;
 * short options may be bundled (-qf) and take a value attached or as the next word.  Unknown
 * options end the program with status 2 and the nearest known name.  Options and operands may be
 * mixed; "--" ends options; operands are moved to the end and argi is the index of the first.
 */
#ifndef WAN_BASE_OPT_H
#define WAN_BASE_OPT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum wan_opt_kind {
    WAN_OPT_K_END = 0,
    WAN_OPT_K_GROUP, /* help holds a heading */
    WAN_OPT_K_FLAG,  /* int, 0 or 1 */
    WAN_OPT_K_COUNT, /* int, counts up */
    WAN_OPT_K_INT,   /* int64_t within [lo, hi] */
    WAN_OPT_K_REAL,  /* double within [lo, hi] */
    WAN_OPT_K_SIZE,  /* int64_t bytes, suffix K M G T (powers of 1024) */
    WAN_OPT_K_STR,   /* const char * (into argv) */
    WAN_OPT_K_ENUM,  /* const char *, one of the |-separated words in arg */
    WAN_OPT_K_LIST,  /* wan_strlist, takes every following word up to the next option, as
                         DFM's nargs="+": --prompts "a" "b"; may repeat */
    WAN_OPT_K_HELP,
    WAN_OPT_K_VERSION,
    WAN_OPT_K_MDOC,
    WAN_OPT_K_BASH,
    WAN_OPT_K_ZSH,
    WAN_OPT_K_ALSO,     /* another long name of the option in the row above */
    WAN_OPT_K_ELSEWHERE /* a name from other systems; arg says which tool has it here */
};

typedef struct wan_strlist {
    const char **v; /* owned by the list, strings belong to argv */
    size_t n;
} wan_strlist;

typedef struct wan_opt {
    enum wan_opt_kind kind;
    const char *name; /* long name, written with '-' */
    char letter;      /* 0: none */
    const char *arg;  /* argument name in help; for ENUM the words "a|b|c" */
    void *dst;
    double lo, hi; /* range of INT, REAL, SIZE (inclusive) */
    const char *help;
} wan_opt;

typedef struct wan_tool {
    const char *name;     /* "wan-decode" */
    const char *summary;  /* one line, no final stop */
    const char *synopsis; /* after the name, e.g. "[options] FILE|DIR..." */
    const wan_opt *opts;
} wan_tool;

#define WAN_OPT_GROUP(h)                                                                           \
    {                                                                                              \
        WAN_OPT_K_GROUP, 0, 0, 0, 0, 0, 0, h                                                       \
    }
#define WAN_OPT_FLAG(n, l, d, h)                                                                   \
    {                                                                                              \
        WAN_OPT_K_FLAG, n, l, 0, d, 0, 1, h                                                        \
    }
#define WAN_OPT_COUNT(n, l, d, h)                                                                  \
    {                                                                                              \
        WAN_OPT_K_COUNT, n, l, 0, d, 0, 1, h                                                       \
    }
#define WAN_OPT_INT(n, l, a, d, lo, hi, h)                                                         \
    {                                                                                              \
        WAN_OPT_K_INT, n, l, a, d, lo, hi, h                                                       \
    }
#define WAN_OPT_REAL(n, l, a, d, lo, hi, h)                                                        \
    {                                                                                              \
        WAN_OPT_K_REAL, n, l, a, d, lo, hi, h                                                      \
    }
#define WAN_OPT_SIZE(n, l, a, d, lo, hi, h)                                                        \
    {                                                                                              \
        WAN_OPT_K_SIZE, n, l, a, d, lo, hi, h                                                      \
    }
#define WAN_OPT_STR(n, l, a, d, h)                                                                 \
    {                                                                                              \
        WAN_OPT_K_STR, n, l, a, d, 0, 0, h                                                         \
    }
#define WAN_OPT_ENUM(n, l, words, d, h)                                                            \
    {                                                                                              \
        WAN_OPT_K_ENUM, n, l, words, d, 0, 0, h                                                    \
    }
#define WAN_OPT_LIST(n, l, a, d, h)                                                                \
    {                                                                                              \
        WAN_OPT_K_LIST, n, l, a, d, 0, 0, h                                                        \
    }
/* One more long name of the option in the row above. */
#define WAN_OPT_ALSO(n)                                                                            \
    {                                                                                              \
        WAN_OPT_K_ALSO, n, 0, 0, 0, 0, 0, 0                                                        \
    }
/* What other systems' one script takes and another tool does here: an error that says which. */
#define WAN_OPT_ELSEWHERE(n, where)                                                                \
    {                                                                                              \
        WAN_OPT_K_ELSEWHERE, n, 0, where, 0, 0, 0, 0                                               \
    }
/* -q, -v, --[no-]progress, --help (-h), --version, --help-mdoc: in every tool. */
#define WAN_OPT_COMMON                                                                             \
    WAN_OPT_GROUP("General"),                                                                      \
        { WAN_OPT_K_FLAG, "quiet", 'q', 0, &wan_opt_quiet, 0, 1, "say only what went wrong" },     \
        { WAN_OPT_K_COUNT, "verbose", 'v', 0, &wan_opt_verbose, 0, 1, "say more (twice: debug)" }, \
        { WAN_OPT_K_FLAG,                                                                          \
          "progress",                                                                              \
          0,                                                                                       \
          0,                                                                                       \
          &wan_opt_progress,                                                                       \
          0,                                                                                       \
          1,                                                                                       \
          "draw the progress line even when standard error is no terminal" },                      \
        { WAN_OPT_K_HELP, "help", 'h', 0, 0, 0, 0, "print this help and exit" },                   \
        { WAN_OPT_K_VERSION, "version", 0, 0, 0, 0, 0, "print versions of tool and libraries" },   \
        { WAN_OPT_K_MDOC, "help-mdoc", 0, 0, 0, 0, 0, 0 }, /* hidden: OPTIONS for the man page */  \
        { WAN_OPT_K_BASH, "help-bash", 0, 0, 0, 0, 0, 0 }, /* hidden: completions */               \
    {                                                                                              \
        WAN_OPT_K_ZSH, "help-zsh", 0, 0, 0, 0, 0, 0                                                \
    }
#define WAN_OPT_END                                                                                \
    {                                                                                              \
        WAN_OPT_K_END, 0, 0, 0, 0, 0, 0, 0                                                         \
    }

extern int wan_opt_quiet, wan_opt_verbose, wan_opt_progress; /* progress: -1 unset */

/* Parses, prints help or version and exits where asked, sets up log.h.  Returns the index of the
 * first operand; never returns on a usage error (exit 2). */
int wan_opt_parse(const wan_tool *tool, int argc, char **argv);
/* Letters to insert, remove or change to turn one word into the other; 63 for long words. */
int wan_opt_distance(const char *a, const char *b);
/* "Did you mean": the nearest of n names within edit distance 3 (or NULL). */
const char *wan_nearest(const char *word, const char *const *names, size_t n);
/* Strict numbers: whole string, in range, else -1 with a sentence that names `what`. */
int wan_parse_int(int64_t *out, const char *s, int64_t lo, int64_t hi, const char *what)
    WAN_MUST_CHECK;
int wan_parse_real(double *out, const char *s, double lo, double hi, const char *what)
    WAN_MUST_CHECK;

const char *wan_version(void);       /* "0.1.0 (commit)" */
const char *wan_version_build(void); /* compiler and flags */
/* Adds a line to --version, e.g. "libavcodec 59.37.100 (found 59.37.100)"; called by a tool's main
 * before wan_opt_parse for the libraries it uses, and asked for only when it is shown. */
void wan_version_add(const char *(*line)(void));

#endif
