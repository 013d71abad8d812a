/* SPDX-License-Identifier: Apache-2.0
 *
 * events.c - see events.h.
 */
#include "lib/train/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"

enum { ROOM = 2048 };

struct wan_events {
    FILE *f;
    char *path;
};

/* A message in the making; it never grows beyond its room, which holds the largest there is. */
typedef struct message {
    uint8_t p[ROOM];
    size_t n;
} message;

/* ---- protobuf: a field is its number and wire type, then its value */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put(message *m, const void *p, size_t n)
{
    if (n > ROOM - m->n)
        WAN_BUG("a message of more than %d bytes", (int)ROOM);
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

static void put_varint(message *m, uint64_t v)
{
    do {
        uint8_t b = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        put(m, &b, 1);
        v >>= 7;
    } while (v);
}

static void put_field(message *m, int number, int wire)
{
    put_varint(m, (uint64_t)(number << 3 | wire));
}

static void put_bytes(message *m, int number, const void *p, size_t n)
{
    put_field(m, number, BYTES);
    put_varint(m, n);
    put(m, p, n);
}

/* Event: 1 wall_time, 2 step */
static void begin(message *m, int64_t step)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    double seconds = (double)now.tv_sec + (double)now.tv_usec * 1e-6;
    m->n = 0;
    put_field(m, 1, FIXED64);
    put(m, &seconds, sizeof seconds);
    if (step) {
        put_field(m, 2, VARINT);
        put_varint(m, (uint64_t)step);
    }
}

/* Summary: 1 value; Summary.Value: 1 tag, 2 simple_value */
static void add_scalar(message *summary, const char *tag, double x)
{
    message v = { .n = 0 };
    float f = (float)x;
    if (x - x != 0)
        return; /* what is not finite makes no point */
    put_bytes(&v, 1, tag, strlen(tag));
    put_field(&v, 2, FIXED32);
    put(&v, &f, sizeof f);
    put_bytes(summary, 1, v.p, v.n);
}

/* ---- TFRecord */

static uint32_t masked(const void *p, size_t n)
{
    uint32_t c = wan_crc32c(0, p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static int put_record(wan_events *e, const message *m)
{
    uint64_t n = m->n;
    uint32_t head = masked(&n, sizeof n), tail = masked(m->p, m->n);
    fwrite(&n, sizeof n, 1, e->f);
    fwrite(&head, sizeof head, 1, e->f);
    fwrite(m->p, 1, m->n, e->f);
    fwrite(&tail, sizeof tail, 1, e->f);
    return fflush(e->f) != 0 || ferror(e->f) ? wan_err_errno("%s: cannot write", e->path) : 0;
}

/* ---- a run */

static int open_file(wan_events *e, const char *dir)
{
    char host[64] = "localhost", name[160];
    gethostname(host, sizeof host - 1);
    WAN_TRY(wan_mkdirs(dir));
    for (int i = 0; i < 1000; i++) { /* names are by the second: another may be there */
        snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)time(NULL),
                 host, (long)getpid(), i);
        free(e->path);
        e->path = wan_path_join(dir, name);
        if (!e->path)
            return -1;
        e->f = fopen(e->path, "wbx");
        if (e->f)
            return 0;
    }
    return wan_err_errno("%s", e->path);
}

/* Event: 3 file_version; 7 session_log, SessionLog: 1 status, START 1 */
static int put_start(wan_events *e, int64_t step)
{
    static const char version[] = "brain.Event:2";
    message m = { .n = 0 };
    begin(&m, 0);
    put_bytes(&m, 3, version, sizeof version - 1);
    WAN_TRY(put_record(e, &m));
    if (!step)
        return 0;
    const uint8_t start[2] = { 1 << 3 | VARINT, 1 };
    begin(&m, step + 1);
    put_bytes(&m, 7, start, sizeof start);
    return put_record(e, &m);
}

int wan_events_open(wan_events **out, const char *dir, int64_t step)
{
    wan_events *e = *out = wan_calloc(1, sizeof *e, "event file");
    if (!e)
        return -1;
    if (open_file(e, dir) == 0 && put_start(e, step) == 0)
        return 0;
    if (e->f)
        fclose(e->f);
    free(e->path);
    free(e);
    *out = NULL;
    return -1;
}

static void add_bins(message *s, const wan_report *r)
{
    char tag[32];
    for (int i = 0; i < WAN_SIGMA_BINS; i++) {
        snprintf(tag, sizeof tag, "loss_by_sigma/%d", i);
        if (r->bin_count[i])
            add_scalar(s, tag, r->bin_loss[i]);
    }
}

int wan_events_write(wan_events *e, const wan_report *r)
{
    message m, s = { .n = 0 };
    add_scalar(&s, "train/loss", r->loss);
    add_scalar(&s, "train/loss_unweighted", r->loss_unweighted);
    add_scalar(&s, "train/lr", r->lr);
    add_scalar(&s, "train/grad_norm", r->grad_norm);
    add_scalar(&s, "train/epoch", r->epoch);
    add_scalar(&s, "train/consumed_samples", (double)r->position);
    add_scalar(&s, "speed/s_per_step", r->seconds);
    add_scalar(&s, "speed/tokens_per_s", (double)r->tokens / r->seconds);
    add_scalar(&s, "speed/tflops_per_rank", r->flops / r->seconds * 1e-12 / r->ranks);
    static const char *const times[WAN_TIMES] = { "time/data", "time/forward", "time/backward",
                                                  "time/optimizer", "time/save" };
    for (int i = 0; i < WAN_TIMES; i++)
        add_scalar(&s, times[i], r->spent[i]);
    if (r->has_val)
        add_scalar(&s, "val/loss", r->val_loss);
    add_bins(&s, r);
    begin(&m, r->step);
    put_bytes(&m, 5, s.p, s.n); /* Event: 5 summary */
    return put_record(e, &m);
}

int wan_events_close(wan_events **pe)
{
    wan_events *e = *pe;
    if (!e)
        return 0;
    int rc = fclose(e->f) != 0 ? wan_err_errno("%s: cannot write", e->path) : 0;
    free(e->path);
    free(e);
    *pe = NULL;
    return rc;
}
