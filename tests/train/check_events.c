/* SPDX-License-Identifier: Apache-2.0
 *
 * check_events.c - event files taken apart by a reader that shares nothing with the writer: lengths,
 * checksums bit by bit, fields of the messages.  tests/interop/tensorboard.sh has TensorBoard read one.
 */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/train/events.h"
#include "tests/tap.h"

static char folder[] = "/tmp/wan-check-events.XXXXXX";

/* CRC-32C by its polynomial, a bit at a time. */
static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int b = 0; b < 8; b++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
    }
    return ~c;
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int good_crc(const uint8_t *p, size_t n, const uint8_t *stored)
{
    uint32_t v = word(stored) - 0xa282ead8u;
    return (v >> 17 | v << 15) == crc(p, n);
}

/* The next field of a message: its number; *v: its varint, or the length of *p; 0: the end. */
static int field(const uint8_t **at, const uint8_t *end, uint64_t *v, const uint8_t **p)
{
    if (*at >= end)
        return 0;
    int key = *(*at)++, wire = key & 7;
    *v = 0;
    *p = *at;
    if (wire == 1 || wire == 5) {
        *at += wire == 1 ? 8 : 4;
        return key >> 3;
    }
    int shift = 0;
    do
        *v |= (uint64_t)(**at & 0x7f) << shift, shift += 7;
    while (*(*at)++ & 0x80);
    *p = *at;
    if (wire == 2)
        *at += *v;
    return key >> 3;
}

/* What one record says. */
typedef struct event {
    int64_t step;
    int version, start;
    int scalars;
    double loss, val, bin3;
} event;

static void read_value(event *e, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q, *tag = NULL;
    uint64_t v, length = 0;
    double x = NAN;
    for (int k; (k = field(&p, end, &v, &q));) {
        if (k == 1)
            tag = q, length = v;
        if (k == 2) {
            uint32_t bits = word(q);
            float f;
            memcpy(&f, &bits, 4);
            x = (double)f;
        }
    }
    e->scalars++;
    if (length == 10 && !memcmp(tag, "train/loss", 10))
        e->loss = x;
    if (length == 8 && !memcmp(tag, "val/loss", 8))
        e->val = x;
    if (length == 15 && !memcmp(tag, "loss_by_sigma/3", 15))
        e->bin3 = x;
}

static event read_event(const uint8_t *p, size_t n)
{
    event e = { .loss = NAN, .val = NAN, .bin3 = NAN };
    const uint8_t *end = p + n, *q;
    uint64_t v;
    for (int k; (k = field(&p, end, &v, &q));) {
        if (k == 2)
            e.step = (int64_t)v;
        if (k == 3)
            e.version = v == 13 && !memcmp(q, "brain.Event:2", 13);
        if (k == 7)
            e.start = v == 2 && q[0] == 8 && q[1] == 1;
        if (k == 5) {
            const uint8_t *sum = q, *stop = q + v, *one;
            uint64_t length;
            while (field(&sum, stop, &length, &one))
                read_value(&e, one, one + length);
        }
    }
    return e;
}

/* The records of the file that ends with the number; how many there are, -1: one is damaged. */
static int read_file(event *out, int most, int number)
{
    DIR *d = opendir(folder);
    char *path = NULL, *data, end[16];
    size_t n;
    int count = 0;
    snprintf(end, sizeof end, ".%d", number);
    for (struct dirent *e; d && (e = readdir(d));)
        if (!strncmp(e->d_name, "events.out.tfevents.", 20) && strlen(e->d_name) > 2 &&
            !strcmp(e->d_name + strlen(e->d_name) - strlen(end), end))
            path = wan_path_join(folder, e->d_name);
    closedir(d);
    if (!path || wan_slurp(&data, &n, path, 1 << 20) < 0)
        return -1;
    const uint8_t *p = (const uint8_t *)data, *stop = p + n;
    while (p < stop && count >= 0 && count < most) {
        uint64_t length = word(p) | (uint64_t)word(p + 4) << 32;
        int good = good_crc(p, 8, p + 8) && length < n && good_crc(p + 12, length, p + 12 + length);
        if (good)
            out[count] = read_event(p + 12, length);
        count = good ? count + 1 : -1;
        p += 16 + length;
    }
    free(data);
    free(path);
    return count;
}

static wan_report report(int64_t step)
{
    wan_report r = { .step = step,
                     .steps = 300,
                     .loss = 0.5 / (double)step,
                     .seconds = 2,
                     .tokens = 100,
                     .flops = 1e12,
                     .ranks = 2,
                     .lr = 1e-4,
                     .grad_norm = NAN };
    r.bin_count[3] = 2;
    r.bin_loss[3] = 0.25;
    return r;
}

int main(void)
{
    wan_events *e = NULL;
    event v[8];
    if (!mkdtemp(folder))
        return 1;
    ok(wan_events_open(&e, folder, 0) == 0, "open");
    wan_report r = report(1), s = report(200);
    s.has_val = 1, s.val_loss = 0.75;
    ok(wan_events_write(e, &r) == 0 && wan_events_write(e, &s) == 0, "two steps");
    ok(read_file(v, 8, 0) == 3, "are on disk at once, checksums right");
    ok(wan_events_close(&e) == 0 && !e, "close");
    ok(v[0].version && !v[0].start, "the first record says the version");
    ok(v[1].step == 1 && v[1].loss == 0.5 && v[1].bin3 == 0.25 && isnan(v[1].val), "step 1");
    ok(v[2].step == 200 && v[2].loss == (double)(float)0.0025 && v[2].val == 0.75,
       "step 200, a number of two bytes");
    ok(v[1].scalars == 9 + WAN_TIMES, "a norm that is not finite is no point: %d scalars",
       v[1].scalars);
    ok(wan_events_open(&e, folder, 150) == 0 && wan_events_close(&e) == 0, "a run that goes on");
    ok(read_file(v, 8, 1) == 2 && v[1].start && v[1].step == 151,
       "takes the steps from 151 off those before it");
    ok(wan_events_open(&e, "/proc/none", 0) < 0 && !e, "no folder: %s", wan_err_text());
    wan_remove_tree(folder);
    return tap_done();
}
