/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_video.c - any bytes as a video, decoded in a process of its own, then a good one: whatever the
 * first did, the next goes on.
 */
#include "lib/media/clip_jobs.h"
#include "tests/fuzz/fuzz.h"

static int decode(wan_clip_jobs *j, const char *path, int64_t chosen)
{
    wan_clip_task task = { .path = path, .chosen = chosen };
    wan_video v = { 0 };
    task.video.height = task.video.width = 16;
    task.video.max_frames = 4;
    task.video.max_bytes = 1 << 20;
    task.video.fit = WAN_FIT_CROP;
    task.video.scene_cut = chosen ? 0 : 10;
    int rc = wan_clip_jobs_put(j, &task, 0);
    while (rc == 0)
        rc = wan_clip_jobs_wait(j); /* 0: it begins again, with filters */
    if (rc != 1)
        return fuzz_broken();
    rc = wan_clip_jobs_take(j, &v);
    if (rc == 0) {
        if (v.height != 16 || v.width != 16 || v.frames < 1 || v.frames > 4)
            abort();
        rc = wan_clip_jobs_pixels(j, &v);
        volatile unsigned sum = 0;
        for (int64_t i = 0; rc == 0 && i < v.frames * 16 * 16 * 3; i++)
            sum = sum + v.rgb[i];
    } else if (strncmp(wan_err_text(), path, strlen(path)))
        fuzz_broken(); /* a reason names the file */
    wan_clip_jobs_done(j);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const wan_child_limits limits = { .memory = 1 << 30, .seconds = 5, .patience = 5 };
    static unsigned turn;
    wan_clip_jobs *j;
    char path[512], good[512];
    fuzz_begin();
    snprintf(path, sizeof path, "%s", fuzz_path("x.mp4"));
    snprintf(good, sizeof good, "%s", getenv("WAN_FUZZ_GOOD") ? getenv("WAN_FUZZ_GOOD") : "");
    fuzz_put("x.mp4", data, n);
    if (wan_clip_jobs_open(&j, 1, &limits, 1 << 20) < 0)
        return fuzz_broken();
    (void)decode(j, path, 0);
    if (n & 1)
        (void)decode(j, path, 3);
    if (*good && turn++ % 16 == 0 && decode(j, good, 0) < 0)
        fuzz_broken();
    wan_clip_jobs_close(&j);
    return 0;
}
