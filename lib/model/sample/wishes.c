/* SPDX-License-Identifier: Apache-2.0
 *
 * wishes.c - see wishes.h.
 */
#include "lib/model/sample/wishes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/rec/record/record.h"

enum { MAX_WISHES = 10000, MAX_LINE = 1 << 20, RECORD = 0x89 /* first byte of a record stream */ };

static void free_one(wan_wish *w)
{
    free(w->prompt);
    free(w->size);
    free(w->frames);
}

int wan_wishes_add(wan_wishes *w, const char *prompt, const char *size, const char *frames,
                   int64_t seed)
{
    if (w->n == MAX_WISHES)
        return wan_err("more than %d prompts", (int)MAX_WISHES);
    if (strlen(prompt) > MAX_LINE)
        return wan_err("a prompt of more than %d bytes", (int)MAX_LINE);
    const int is_text = wan_json_is_text(prompt, strlen(prompt), "a prompt");
    WAN_TRY(is_text);
    if (!is_text)
        return wan_err("the prompt is not valid UTF-8");
    wan_wish *more = realloc(w->v, (size_t)(w->n + 1) * sizeof *more);
    if (!more)
        return wan_err("out of memory (prompts)");
    w->v = more;
    wan_wish *one = &w->v[w->n];
    *one = (wan_wish){ .prompt = strdup(prompt),
                       .size = size ? strdup(size) : NULL,
                       .frames = frames ? strdup(frames) : NULL,
                       .seed = seed };
    if (!one->prompt || (size && !one->size) || (frames && !one->frames)) {
        free_one(one);
        return wan_err("out of memory (prompts)");
    }
    w->n++;
    return 0;
}

/* ---- lines */

static int known_keys(const json_t *j, const char *what)
{
    static const char *const known[] = { "prompt", "caption", "size", "frame_num", "seed" };
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)j, name, v)
    {
        size_t i = 0, n = sizeof known / sizeof *known;
        while (i < n && strcmp(name, known[i]) != 0)
            i++;
        if (i == n)
            return wan_err("%s: unknown key \"%s\"; known are prompt (or caption), size, frame_num "
                           "and seed",
                           what, name);
    }
    return 0;
}

static int add_object(wan_wishes *w, const json_t *j, const char *what)
{
    const char *prompt, *caption, *size;
    int64_t frames, seed;
    char number[24];
    WAN_TRY(known_keys(j, what));
    WAN_TRY(wan_json_str(j, "prompt", NULL, &prompt, what));
    WAN_TRY(wan_json_str(j, "caption", NULL, &caption, what));
    WAN_TRY(wan_json_str(j, "size", NULL, &size, what));
    WAN_TRY(wan_json_int(j, "frame_num", 0, 1, 4093, &frames, what));
    WAN_TRY(wan_json_int(j, "seed", -1, 0, 9007199254740991, &seed, what));
    if (!prompt == !caption)
        return wan_err("%s: %s", what, prompt ? "both prompt and caption" : "no prompt");
    snprintf(number, sizeof number, "%" PRId64, frames);
    int rc = wan_wishes_add(w, prompt ? prompt : caption, size, frames ? number : NULL, seed);
    return rc < 0 ? wan_err_prefix("%s", what) : 0;
}

static int add_line(wan_wishes *w, char *line, size_t n, const char *what)
{
    while (n && strchr("\r\n \t", line[n - 1]))
        n--;
    if (strlen(line) < n)
        return wan_err("%s: a zero byte", what);
    line[n] = 0;
    line += strspn(line, " \t");
    if (!*line)
        return 0;
    if (*line != '{')
        return wan_wishes_add(w, line, NULL, NULL, -1) < 0 ? wan_err_prefix("%s", what) : 0;
    json_t *j = wan_json_parse(line, strlen(line), what);
    int rc = j ? add_object(w, j, what) : -1;
    json_decref(j);
    return rc;
}

static int read_lines(wan_wishes *w, FILE *f, const char *name)
{
    char *line = NULL, what[1024];
    size_t room = 0;
    ssize_t n;
    int rc = 0;
    for (long k = 1; rc == 0 && (n = getline(&line, &room, f)) >= 0; k++) {
        const int mark = k == 1 && n >= 3 && !memcmp(line, "\xef\xbb\xbf", 3) ? 3 : 0;
        snprintf(what, sizeof what, "%s: line %ld", name, k);
        rc = add_line(w, line + mark, (size_t)(n - mark), what);
    }
    if (rc == 0 && !feof(f)) /* ferror says nothing of a line that found no memory */
        rc = wan_err_errno("%s", name);
    free(line);
    return rc;
}

/* ---- records */

static int read_records(wan_wishes *w, FILE *f, const char *name)
{
    wan_reader *in;
    wan_record r = WAN_RECORD_INIT;
    WAN_TRY(wan_reader_open(&in, f, name));
    int rc;
    while ((rc = wan_reader_next(in, &r)) > 0) {
        const char *caption = json_string_value(json_object_get(r.meta, "caption"));
        rc = caption ? wan_wishes_add(w, caption, NULL, NULL, -1)
                     : wan_err("it has no caption, which would be the prompt");
        if (rc < 0) {
            wan_err_prefix("%s: record %s", name, r.key);
            break;
        }
    }
    wan_record_clear(&r);
    wan_reader_close(&in);
    return rc;
}

int wan_wishes_read(wan_wishes *w, const char *path)
{
    FILE *f;
    const char *name;
    int before = w->n;
    WAN_TRY(wan_in_open(&f, path, &name));
    int first = getc(f);
    if (first != EOF)
        ungetc(first, f);
    int rc = first == RECORD ? read_records(w, f, name) : read_lines(w, f, name);
    wan_in_close(f);
    return rc == 0 && w->n == before ? wan_err("%s: no prompts in it", name) : rc;
}

void wan_wishes_free(wan_wishes *w)
{
    for (int i = 0; i < w->n; i++)
        free_one(&w->v[i]);
    free(w->v);
    *w = (wan_wishes){ 0 };
}
