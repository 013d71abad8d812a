/* SPDX-License-Identifier: Apache-2.0
 *
 * corrupt.c - damages the files of a folder one change at a time (a bit, a byte, a run of zeros, an end
 * cut off), reads the folder as the tools do, and puts the file back.  Each change must be noticed, in a
 * sentence that names the file, or be harmless: what was read is what is read from whole files.
 *
 *     corrupt KIND DIR CHANGES [SEED]        KIND: record dataset index checkpoint model
 *
 * Prints one line with the counts, a line for each change that was neither, and ends with status 1 where
 * there was one.  The same seed makes the same changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/model/files/manifest.h"
#include "lib/model/files/rundir.h"
#include "lib/model/text/text.h"
#include "lib/rec/record/record.h"
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/tensor/safetensors.h"

/* ---- readers: what is read goes into the digest */

static void add_json(wan_sha256 *s, const json_t *j)
{
    char *text = wan_json_dump(j);
    if (text)
        wan_sha256_add(s, text, strlen(text));
    free(text);
}

static int read_record_file(wan_sha256 *s, const char *path)
{
    wan_reader *r;
    wan_record rec = WAN_RECORD_INIT;
    int rc;
    FILE *f = fopen(path, "rb");
    if (!f)
        return wan_err_errno("%s", path);
    if ((rc = wan_reader_open(&r, f, path)) == 0) {
        add_json(s, wan_reader_header(r));
        while ((rc = wan_reader_next(r, &rec)) > 0) {
            wan_sha256_add(s, rec.key, strlen(rec.key));
            add_json(s, rec.meta);
            for (int i = 0; i < rec.n_tensors; i++) {
                const wan_tensor *t = &rec.tensors[i];
                wan_sha256_add(s, t->name, strlen(t->name));
                wan_sha256_add(s, &t->dtype, sizeof t->dtype);
                wan_sha256_add(s, t->shape, sizeof *t->shape * (size_t)t->rank);
                wan_sha256_add(s, t->data, t->bytes);
            }
        }
        wan_reader_close(&r);
    }
    wan_record_clear(&rec);
    fclose(f);
    return rc;
}

static int read_record(wan_sha256 *s, const char *dir)
{
    char *path = wan_path_join(dir, "x.wan");
    int rc = path ? read_record_file(s, path) : -1;
    free(path);
    return rc;
}

/* As training does. */
static int read_dataset(wan_sha256 *s, const char *dir)
{
    wan_dataset *d;
    wan_sample x = WAN_SAMPLE_INIT;
    int rc = wan_dataset_open(&d, dir, "train");
    if (rc < 0)
        return -1;
    int64_t n = wan_dataset_count(d);
    wan_sha256_add(s, &n, sizeof n);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        wan_sample_info info;
        if ((rc = wan_dataset_info(d, i, &info)) < 0 || (rc = wan_dataset_read(d, i, &x)) < 0)
            break;
        const int64_t *l = x.info.latent;
        wan_sha256_add(s, x.key, strlen(x.key));
        wan_sha256_add(s, x.latent, (size_t)(l[0] * l[1] * l[2] * l[3]) * sizeof(float));
        wan_sha256_add(s, x.text, (size_t)(x.info.text_rows * x.info.text_dim) * sizeof(float));
        add_json(s, x.json);
    }
    wan_sample_clear(&x);
    wan_dataset_close(&d);
    return rc;
}

static char problems[8192];

static void problem(const char *sentence)
{
    size_t n = strlen(problems);
    snprintf(problems + n, sizeof problems - n, "%s; ", sentence);
}

/* As wan-index -c does. */
static int read_index(wan_sha256 *s, const char *dir)
{
    wan_index_report rep;
    int64_t bad = wan_index_check(&rep, dir, problem, NULL);
    wan_sha256_add(s, &bad, sizeof bad);
    return bad < 0 ? -1 : bad > 0 ? wan_err("%s", problems) : 0;
}

static int read_tensors(wan_sha256 *s, const char *path)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, path));
    add_json(s, wan_st_metadata(st));
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        wan_sha256_add(s, t->name, strlen(t->name));
        wan_sha256_add(s, t->shape, sizeof *t->shape * (size_t)t->rank);
        wan_sha256_add(s, t->data, t->bytes);
    }
    wan_st_close(&st);
    return 0;
}

static int read_file(wan_sha256 *s, const char *dir, const char *name)
{
    char *path = wan_path_join(dir, name), *text = NULL;
    size_t n = 0, len = strlen(name);
    int rc = !path ? -1
             : len > 12 && !strcmp(name + len - 12, ".safetensors")
                 ? read_tensors(s, path)
                 : wan_slurp(&text, &n, path, 1 << 24);
    if (rc == 0 && text)
        wan_sha256_add(s, text, n);
    free(text);
    free(path);
    return rc;
}

/* As a run that goes on does: the newest step, held against its manifest, then read. */
static int read_checkpoint(wan_sha256 *s, const char *dir)
{
    static const char *const name[] = { "transformer/diffusion_pytorch_model.safetensors",
                                        "optimizer/exp_avg.safetensors",
                                        "optimizer/exp_avg_sq.safetensors",
                                        "transformer/config.json",
                                        "train_state.json",
                                        "run_config.yaml" };
    char *path;
    int rc = wan_rundir_find(&path, dir, -1);
    if (rc <= 0)
        return rc < 0 ? -1 : wan_err("%s: no step in it", dir);
    rc = wan_manifest_check(path, 0, 1);
    for (size_t i = 0; i < sizeof name / sizeof *name && rc == 0; i++)
        rc = read_file(s, path, name[i]);
    free(path);
    return rc;
}

/* A folder of a model for which wan-convert check has made a manifest. */
static int read_model(wan_sha256 *s, const char *dir)
{
    static const char *const text[] = { "a cat on a mat", "Ein  Hund, 3 Katzen </s> x" };
    wan_tokenizer *t;
    char *path = wan_path_join(dir, "tokenizer");
    int rc = wan_manifest_check(dir, 0, 1);
    if (rc == 0 && path && (rc = wan_tokenizer_open(&t, path)) == 0) {
        for (size_t i = 0; i < sizeof text / sizeof *text && rc == 0; i++) {
            int32_t *ids;
            int64_t n;
            if ((rc = wan_tokenizer_encode(t, &ids, &n, text[i], 64)) == 0) {
                wan_sha256_add(s, ids, sizeof *ids * (size_t)n);
                free(ids);
            }
        }
        wan_tokenizer_close(&t);
    }
    free(path);
    if (rc == 0)
        rc = read_file(s, dir, "transformer/diffusion_pytorch_model.safetensors");
    return rc < 0 ? -1 : read_file(s, dir, "transformer/config.json");
}

static const struct kind {
    const char *name;
    int (*read)(wan_sha256 *, const char *);
} kinds[] = { { "record", read_record },
              { "dataset", read_dataset },
              { "index", read_index },
              { "checkpoint", read_checkpoint },
              { "model", read_model } };

/* ---- the folder, as it was */

typedef struct file {
    char *path;
    uint8_t *data;
    size_t n;
    struct timespec time[2];
} file;

static file *files;
static size_t n_files;

static int meet(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F)
        return 0;
    char *text;
    file f = { .path = strdup(path), .time = { st->st_atim, st->st_mtim } };
    if (!f.path || wan_slurp(&text, &f.n, path, 1 << 26) < 0 ||
        !(files = reallocarray(files, n_files + 1, sizeof *files)))
        return -1;
    f.data = (uint8_t *)text;
    files[n_files++] = f;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const file *)a)->path, ((const file *)b)->path);
}

/* With its time: what rots does not get a new one. */
static void put(const file *f, const uint8_t *data, size_t n)
{
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n || futimens(fd, f->time) < 0 || close(fd) < 0) {
        perror(f->path);
        exit(2);
    }
}

static int strange(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)where;
    int known = type == FTW_D;
    for (size_t i = 0; i < n_files && !known; i++)
        known = !strcmp(files[i].path, path);
    return known ? 0 : unlink(path);
}

/* Readers may write: samples.bin is measured anew. */
static void restore(const char *dir)
{
    for (size_t i = 0; i < n_files; i++) {
        struct stat st;
        const file *f = &files[i];
        if (stat(f->path, &st) < 0 || st.st_mtim.tv_sec != f->time[1].tv_sec ||
            st.st_mtim.tv_nsec != f->time[1].tv_nsec || (size_t)st.st_size != f->n)
            put(f, f->data, f->n);
    }
    if (nftw(dir, strange, 16, FTW_PHYS) < 0)
        exit(2);
}

/* ---- one try */

typedef struct answer {
    int rc; /* 0, -1; -2: it crashed or hung */
    char hex[65], why[1024], log[1024];
} answer;

static answer ask(const struct kind *k, const char *dir)
{
    answer a = { .rc = -2 };
    int line[2], status;
    if (pipe(line) < 0)
        exit(2);
    pid_t p = fork();
    if (!p) {
        wan_sha256 s;
        int log = memfd_create("log", 0);
        alarm(60);
        dup2(log, 2);
        wan_sha256_init(&s);
        a.rc = k->read(&s, dir);
        if (a.rc < 0)
            snprintf(a.why, sizeof a.why, "%s", wan_err_text());
        wan_sha256_hex(&s, a.hex);
        if (pread(log, a.log, sizeof a.log - 1, 0) < 0)
            _exit(1);
        _exit(write(line[1], &a, sizeof a) != sizeof a);
    }
    close(line[1]);
    if (p < 0 || read(line[0], &a, sizeof a) != sizeof a)
        a.rc = -2;
    close(line[0]);
    if (waitpid(p, &status, 0) < 0 || status) {
        a.rc = -2;
        snprintf(a.why, sizeof a.why, "status %d", status);
    }
    return a;
}

static uint64_t state;

static uint64_t pick(uint64_t n) /* 0..n-1 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n ? (state >> 11) % n : 0;
}

/* Changes buf [f->n], says what was done; returns the new size. */
static size_t change(const file *f, uint8_t *buf, char *what, size_t room)
{
    size_t at = pick(f->n), run = 1 + pick(64);
    for (;; at = pick(f->n))
        switch (pick(10)) {
        case 0: snprintf(what, room, "cut off at byte %zu of %zu", at, f->n); return at;
        case 1:
            run = run < f->n - at ? run : f->n - at;
            memset(buf + at, 0, run);
            if (!memcmp(buf + at, f->data + at, run))
                break;
            snprintf(what, room, "bytes %zu to %zu zeroed", at, at + run - 1);
            return f->n;
        case 2:
            buf[at] = (uint8_t)pick(256);
            if (buf[at] == f->data[at])
                break;
            snprintf(what, room, "byte %zu from %02x to %02x", at, f->data[at], buf[at]);
            return f->n;
        default: {
            int bit = (int)pick(8);
            buf[at] ^= (uint8_t)(1 << bit);
            snprintf(what, room, "bit %d of byte %zu", bit, at);
            return f->n;
        }
        }
}

/* Whether the sentence says where in the file, too. */
static int says_where(const char *why)
{
    static const char *const words[] = { "record ", "sample ", "tensor ", "byte",
                                         "line ",   "offset ", "member ", "header",
                                         "table",   "key ",    "entry ",  " end of the tar at " };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(why, words[i]))
            return 1;
    return 0;
}

typedef struct count {
    int noticed, where, warned, harmless, unnamed, silent, crashed;
} count;

/* Whether the log names the file, which it does not where all are whole. */
static int logged(const answer *a, const answer *good, const char *base)
{
    return strstr(a->log, base) && !strstr(good->log, base);
}

static void judge(count *c, const answer *a, const answer *good, const file *f, const char *dir,
                  const char *what)
{
    const char *base = strrchr(f->path, '/') + 1, *verdict = NULL;
    if (a->rc == -2)
        c->crashed++, verdict = "CRASHED";
    else if (a->rc == 0 && logged(a, good, base))
        c->noticed++, c->warned++;
    else if (a->rc == 0 && strcmp(a->hex, good->hex))
        c->silent++, verdict = "SILENT";
    else if (a->rc == 0)
        c->harmless++;
    else if (!strstr(a->why, base))
        c->unnamed++, verdict = "NOT NAMED";
    else {
        c->noticed++;
        c->where += says_where(a->why);
    }
    if (verdict)
        printf("%s: %s: %s: %s\n", verdict, f->path + strlen(dir) + 1, what, a->why);
    else if (getenv("CORRUPT_ALL"))
        printf("%s: %s: %s%s\n", f->path + strlen(dir) + 1, what, a->rc ? a->why : "harmless",
               a->log);
}

int main(int argc, char **argv)
{
    const struct kind *k = NULL;
    count c = { 0 };
    for (size_t i = 0; argc >= 4 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(argv[1], kinds[i].name))
            k = &kinds[i];
    if (!k || nftw(argv[2], meet, 16, FTW_PHYS) < 0 || !n_files) {
        fprintf(stderr, "corrupt KIND DIR CHANGES [SEED]\n");
        return 2;
    }
    qsort(files, n_files, sizeof *files, by_path);
    const char *dir = argv[2];
    int changes = atoi(argv[3]);
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    answer good = ask(k, dir);
    if (good.rc != 0) {
        fprintf(stderr, "%s: whole, and yet: %s\n", dir, good.why);
        return 2;
    }
    restore(dir);
    for (int i = 0; i < changes; i++) {
        char what[96];
        state = (seed << 32 ^ (uint64_t)i) * 0x9e3779b97f4a7c15u + 1;
        (void)pick(2), (void)pick(2);
        const file *f = &files[pick(n_files)];
        if (!f->n)
            continue;
        uint8_t *buf = malloc(f->n);
        if (!buf)
            return 2;
        memcpy(buf, f->data, f->n);
        size_t n = change(f, buf, what, sizeof what);
        put(f, buf, n);
        free(buf);
        answer a = ask(k, dir);
        put(f, f->data, f->n);
        restore(dir);
        judge(&c, &a, &good, f, dir, what);
    }
    printf(
        "%s: %d changes in %zu files: %d noticed and named (%d with the place, %d in the log), %d harmless, %d not "
        "named, %d silent, %d crashed\n",
        k->name, c.noticed + c.harmless + c.unnamed + c.silent + c.crashed, n_files, c.noticed,
        c.where, c.warned, c.harmless, c.unnamed, c.silent, c.crashed);
    return c.unnamed + c.silent + c.crashed > 0;
}
