/* SPDX-License-Identifier: Apache-2.0
 *
 * check_clean.c - prompt cleaning against diffusers' prompt_clean with ftfy.  Where ftfy repaired
 * mojibake, which is left out here, the wanted text is ftfy's without that repair.
 */
#include "tests/tap.h"

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/text/text.h"

static void check_one(const char *text, const char *want)
{
    char *got = NULL;
    int rc = wan_text_clean(&got, text);
    ok(rc == 0 && !strcmp(got, want), "\"%s\" -> \"%s\"", text, rc == 0 ? got : wan_err_text());
    free(got);
}

int main(void)
{
    char *data, *line, *save = NULL;
    size_t size;
    int rows = 0, wrong = 0, mojibake = 0, nul = 0;
    if (wan_slurp(&data, &size, "tests/data/ref/clean/strings.jsonl", 16 << 20) < 0)
        return ok(0, "strings.jsonl is read: %s", wan_err_text()), tap_done();
    for (line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *s = json_object_get(j, "text");
        const json_t *other = json_object_get(j, "clean_without_fix_encoding");
        const char *want = json_string_value(other ? other : json_object_get(j, "clean"));
        char *got = NULL;
        mojibake += other != NULL;
        if (json_string_length(s) != strlen(json_string_value(s))) {
            nul++; /* JSON readers of this project refuse \u0000 */
        } else if (wan_text_clean(&got, json_string_value(s)) < 0 || strcmp(got, want)) {
            if (wrong++ < 10)
                fprintf(stderr, "row %d: %s\n   got: %s\n", rows, line, got ? got : wan_err_text());
        }
        free(got);
        json_decref(j);
        rows++;
    }
    free(data);
    ok(rows == 500 && wrong == 0, "%d strings, %d cleaned otherwise", rows, wrong);
    ok(mojibake < 20, "%d of them with mojibake repair left out", mojibake);
    ok(nul < 40, "%d of them hold NUL and cannot be C strings", nul);
    check_one("", "");
    check_one("&#59; &#x3b;", "; ;");
    check_one("a &notin; b &notit; c", "a \xe2\x88\x89 b \xc2\xacit; c");
    check_one("<b> &EACUTE;", "<b> &EACUTE;");
    check_one("&EACUTE; &amp;amp;lt;", "\xc3\x89 <");
    char *got;
    int rc = wan_text_clean(&got, "bad \xc3(");
    ok(rc < 0 && !got, "not UTF-8: %s", wan_err_text());
    return tap_done();
}
