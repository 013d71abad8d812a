/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_captions.c - any bytes as captions beside a clip (json, jsonl, txt) or as a list of clips (csv,
 * tsv, jsonl, json); the first byte says which.
 */
#include "lib/media/clip_caption.h"
#include "lib/media/clip_rows.h"
#include "lib/rec/record/record.h"
#include "tests/fuzz/fuzz.h"

static int take(void *n, json_t *row, int64_t line)
{
    if (line < 1 || (row && !json_is_object(row)))
        abort();
    ++*(int *)n;
    return 0;
}

static void captions(const char *field, int all)
{
    wan_clip clip = { .path = (char *)(uintptr_t)fuzz_path("x.mp4") };
    wan_clip_captions c;
    char path[512];
    snprintf(path, sizeof path, "%s", clip.path);
    clip.path = path;
    if (wan_clip_captions_read(&c, &clip, field, all) < 0)
        return;
    if (c.n < 1)
        abort();
    for (int i = 0; i < c.n; i++) {
        json_t *utf8 = json_string(c.v[i]);
        if (!utf8 || strlen(c.v[i]) > WAN_MAX_CAPTION)
            fuzz_broken();
        json_decref(utf8);
    }
    wan_clip_captions_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const name[] = { "x.json", "x.jsonl", "x.txt", "l.csv",
                                        "l.tsv",  "l.jsonl", "l.json" };
    int rows = 0;
    fuzz_begin();
    if (!n)
        return 0;
    int which = data[0] % 7;
    fuzz_put(name[which], data + 1, n - 1);
    if (which < 3) {
        captions(NULL, 0);
        captions(NULL, 1);
        captions("prompt", 0);
    } else {
        char path[512];
        wan_clips c = { 0 };
        snprintf(path, sizeof path, "%s", fuzz_path(name[which]));
        (void)!wan_clip_rows_each(path, take, &rows);
        (void)!wan_clips_list(&c, path);
        for (size_t i = 0; i < c.n; i++)
            free(c.v[i].why ? NULL : wan_clips_key(&c, &c.v[i], 0, 0, 0));
        wan_clips_free(&c);
    }
    unlink(fuzz_path(name[which]));
    return 0;
}
