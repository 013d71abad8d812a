/* SPDX-License-Identifier: Apache-2.0
 *
 * check_base.c - checksums, conversions, random numbers, number parsing, files, a file that shrinks.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/crc32c.h"
#include "lib/base/dtype.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/opt.h"
#include "lib/base/rng.h"
#include "lib/base/sha256.h"
#include "lib/base/signals.h"
#include "tests/tap.h"

static void check_sums(void)
{
    char hex[65];
    wan_sha256 s;
    ok(wan_crc32c(0, "123456789", 9) == 0xE3069283u, "CRC32C test vector");
    ok(wan_crc32(0, "123456789", 9) == 0xCBF43926u, "CRC-32 test vector");
    ok(wan_crc32c(wan_crc32c(0, "12345", 5), "6789", 4) == 0xE3069283u, "CRC32C continues");
    ok((wan_crc32c_zeros(9) ^ wan_crc32c_range(wan_crc32c(0, "6789", 4), 4, 0) ^
        wan_crc32c_range(wan_crc32c(0, "123", 3), 3, 6) ^
        wan_crc32c_range(wan_crc32c(0, "45", 2), 2, 4)) == 0xE3069283u,
       "CRC32C of ranges in any order");
    wan_sha256_init(&s);
    wan_sha256_add(&s, "abc", 3);
    wan_sha256_hex(&s, hex);
    ok(!strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "SHA-256");
    char *long_text = malloc(1000000);
    memset(long_text, 'a', 1000000);
    wan_sha256_init(&s);
    for (size_t i = 0; i < 1000000;) { /* uneven pieces cross block borders */
        size_t n = 1 + i % 97;
        if (n > 1000000 - i)
            n = 1000000 - i;
        wan_sha256_add(&s, long_text + i, n);
        i += n;
    }
    wan_sha256_hex(&s, hex);
    free(long_text);
    ok(!strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
       "SHA-256 of a million letters");
}

/* Every half is converted and back; every float between two halves goes to the nearer. */
static void check_half(void)
{
    int bad = 0, wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = wan_f16_to_f32((uint16_t)h);
        if (f == f)
            bad += wan_f32_to_f16(f) != h;
    }
    ok(!bad, "every finite half survives a round trip");
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float a = wan_f16_to_f32((uint16_t)h), b = wan_f16_to_f32((uint16_t)(h + 1));
        uint16_t mid = wan_f32_to_f16((float)((a + (double)b) / 2));
        wrong += mid != (h & 1 ? h + 1 : h);
        wrong += wan_f32_to_f16(a + (b - a) * 0.49f) != h;
        wrong += wan_f32_to_f16(a + (b - a) * 0.51f) != h + 1;
    }
    ok(!wrong, "halves round to nearest even");
    ok(wan_f32_to_f16(65520.0f) == 0x7c00 && wan_f32_to_f16(65519.0f) == 0x7bff, "half overflow");
    ok(wan_bf16_to_f32(wan_f32_to_bf16(1.00390625f)) == 1.0f &&
           wan_bf16_to_f32(wan_f32_to_bf16(1.01171875f)) == 1.015625f,
       "bf16 rounds to nearest even");
    float nan = wan_bf16_to_f32(wan_f32_to_bf16(NAN));
    ok(nan != nan, "bf16 keeps NaN");
}

static void check_philox(void)
{
    /* known answers of the Random123 distribution for philox4x32-10 */
    uint32_t out[4], zero[4] = { 0 }, ones[4] = { ~0u, ~0u, ~0u, ~0u };
    uint32_t pi[4] = { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 };
    uint32_t key[2] = { 0xa4093822, 0x299f31d0 };
    wan_philox(out, zero, zero);
    ok(out[0] == 0x6627e8d5 && out[3] == 0x9b00dbd8, "philox of zeros");
    wan_philox(out, ones, ones);
    ok(out[0] == 0x408f276d && out[3] == 0x6d5451fd, "philox of ones");
    wan_philox(out, pi, key);
    ok(out[0] == 0xd16cfe09 && out[3] == 0x24126ea1, "philox of pi");
}

static void check_streams(void)
{
    enum { N = 100000 };
    static float a[N], b[N];
    wan_rng r = wan_rng_stream(7, WAN_RNG_NOISE, 3, 11);
    wan_rng_normal(&r, a, 0, N);
    double mean = 0, var = 0, lag = 0;
    for (int i = 0; i < N; i++)
        mean += a[i] / N;
    for (int i = 0; i < N; i++)
        var += (a[i] - mean) * (a[i] - mean) / N;
    for (int i = 1; i < N; i++)
        lag += a[i] * a[i - 1] / N;
    ok(fabs(mean) < 0.015 && fabs(var - 1) < 0.02 && fabs(lag) < 0.015,
       "normal: mean %.4f variance %.4f lag-1 %.4f", mean, var, lag);
    for (uint64_t i = 0; i < N;) { /* any piece of the stream is the same piece */
        size_t n = 1 + i % 13;
        if (n > N - i)
            n = N - i;
        wan_rng_normal(&r, b + i, i, n);
        i += n;
    }
    ok(!memcmp(a, b, sizeof a), "pieces of a stream equal the whole");
    wan_rng q = wan_rng_stream(7, WAN_RNG_NOISE, 3, 12);
    wan_rng_normal(&q, b, 0, N);
    double dot = 0;
    for (int i = 0; i < N; i++)
        dot += a[i] * b[i] / N;
    ok(fabs(dot) < 0.015, "neighbouring samples are uncorrelated (%.4f)", dot);
    int count[7] = { 0 };
    for (int i = 0; i < 70000; i++)
        count[wan_rng_below(&r, (uint64_t)i, 7)]++;
    int fair = 1;
    for (int i = 0; i < 7; i++)
        fair &= abs(count[i] - 10000) < 400;
    ok(fair, "below(7) is fair");
}

static void check_numbers(void)
{
    int64_t i;
    double d;
    ok(wan_parse_int(&i, "42", 0, 100, "x") == 0 && i == 42, "integer");
    ok(wan_parse_int(&i, "42x", 0, 100, "x") < 0 && wan_parse_int(&i, "", 0, 100, "x") < 0 &&
           wan_parse_int(&i, "101", 0, 100, "x") < 0 &&
           wan_parse_int(&i, "99999999999999999999", 0, INT64_MAX, "x") < 0,
       "bad integers are refused");
    ok(wan_parse_real(&d, "nan", 0, 1, "x") < 0 && wan_parse_real(&d, "1e999", 0, 1e300, "x") < 0 &&
           wan_parse_real(&d, "0x1", 0, 1, "x") < 0,
       "bad numbers are refused");
    const char *names[] = { "train_iters", "global_batch_size" };
    ok(!strcmp(wan_nearest("train_itres", names, 2), "train_iters") &&
           !wan_nearest("something_else", names, 2),
       "nearest name");
    int64_t shape[3] = { 1 << 20, 1 << 20, 4 };
    ok(wan_shape_count(&i, shape, 3) < 0 && wan_shape_count(&i, shape, 2) == 0 &&
           i == (int64_t)1 << 40,
       "shape product is capped");
}

static void check_files(void)
{
    char dir[] = "/tmp/wan-base.XXXXXX";
    if (!mkdtemp(dir))
        abort();
    char *path = wan_path_join(dir, "a/b/c.txt"), *sub = wan_path_join(dir, "a/b");
    wan_out *o = NULL;
    ok(wan_out_open(&o, path) < 0 && strstr(wan_err_text(), path), "missing folder is named");
    ok(wan_mkdirs(sub) == 0 && wan_out_open(&o, path) == 0, "open");
    fputs("hello", wan_out_file(o));
    ok(access(path, F_OK) != 0, "no final name before finish");
    ok(wan_out_finish(&o) == 0 && access(path, F_OK) == 0, "final name after finish");
    ok(wan_out_open(&o, path) == 0, "open again");
    fputs("half", wan_out_file(o));
    wan_out *second = NULL;
    char *tmp = wan_path_join(dir, "a/b/c.txt.tmp");
    ok(wan_out_open(&second, path) < 0 && strstr(wan_err_text(), "another process") &&
           access(tmp, F_OK) == 0,
       "one writer at a time: %s", wan_err_text());
    free(tmp);
    wan_out_discard(&o);
    char *text = NULL;
    size_t n = 0;
    ok(wan_slurp(&text, &n, path, 100) == 0 && n == 5 && !strcmp(text, "hello"),
       "discard leaves the old file");
    free(text);
    ok(wan_slurp(&text, &n, path, 4) < 0, "slurp respects its cap");
    char *pipe_path = wan_path_join(dir, "fifo");
    struct stat st;
    int fd = mkfifo(pipe_path, 0600) == 0 ? open(pipe_path, O_RDWR | O_NONBLOCK) : -1;
    ok(fd >= 0 && wan_out_open(&o, pipe_path) == 0 && fputs("hello", wan_out_file(o)) > 0 &&
           wan_out_finish(&o) == 0 && stat(pipe_path, &st) == 0 && S_ISFIFO(st.st_mode),
       "a device or pipe is written to, not replaced");
    close(fd);
    free(pipe_path);
    wan_remove_tree(dir);
    ok(access(dir, F_OK) != 0, "remove tree");
    free(path);
    free(sub);
}

/* Whether path holds `text` and the link at `link` is one still. */
static int linked(const char *link, const char *path, const char *text)
{
    struct stat st;
    char *is = NULL;
    int same = lstat(link, &st) == 0 && S_ISLNK(st.st_mode) &&
               wan_slurp(&is, NULL, path, 100) == 0 && !strcmp(is, text);
    free(is);
    return same;
}

static void check_links(void)
{
    char dir[] = "/tmp/wan-base.XXXXXX";
    if (!mkdtemp(dir))
        abort();
    char *sub = wan_path_join(dir, "sub"), *path = wan_path_join(dir, "sub/new"),
         *link = wan_path_join(dir, "link"), *self = wan_path_join(dir, "self");
    if (wan_mkdirs(sub) < 0 || symlink("sub/new", link) < 0 || symlink("self", self) < 0)
        abort();
    ok(wan_spew(link, "one", 3) == 0 && linked(link, path, "one"),
       "what a link leads to is made: %s", wan_err_text());
    ok(wan_spew(link, "two", 3) == 0 && linked(link, path, "two"), "and replaced");
    ok(wan_spew(self, "x", 1) < 0 && strstr(wan_err_text(), self), "not what leads to itself: %s",
       wan_err_text());
    char fd_path[64];
    int fd = open(path, O_WRONLY);
    snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", fd);
    ok(fd >= 0 && wan_spew(fd_path, "three", 5) == 0 && linked(link, path, "three"),
       "the file of a descriptor");
    close(fd);
    wan_remove_tree(dir);
    free(sub);
    free(path);
    free(link);
    free(self);
}

/* How a child ends that gets SIGHUP, which is ignored at first or not. */
static int after_hup(int ignored)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
        wan_signals_filter();
        raise(SIGHUP);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

static int hang_up(void *arg, void *room)
{
    (void)arg, (void)room;
    return raise(SIGHUP);
}

/* What a child becomes of a hangup that its parent ignores. */
static int child_after_hup(void)
{
    wan_child *c = NULL;
    wan_child_limits none = { .filter = WAN_FILTER_OFF };
    signal(SIGHUP, SIG_IGN);
    fflush(stdout);
    int rc = wan_child_open(&c, 16);
    if (rc == 0)
        rc = wan_child_start(c, &none, "/dev/null", hang_up, NULL);
    while (rc == 0 && !wan_child_wait(&c, 1, -1)) {}
    if (rc == 0)
        rc = wan_child_result(c);
    wan_child_close(&c);
    signal(SIGHUP, SIG_DFL);
    return rc;
}

static void check_hup(void)
{
    int status = after_hup(0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP, "SIGHUP ends a filter");
    ok(after_hup(1) == 0, "but not where it is ignored");
    ok(child_after_hup() == 0, "nor its child: %s", wan_err_text());
}

static void check_json(void)
{
    json_t *o = wan_json_object();
    wan_err_clear();
    wan_json_put(&o, "name", json_string("\xff"));
    ok(!o && strstr(wan_err_text(), "(name): a text that is not UTF-8") && !wan_err_memory(),
       "a text that JSON cannot hold is not lack of memory: %s", wan_err_text());
}

/* What a file or a user says is not what we say. */
static void check_memory(void)
{
    wan_err("unknown option %s", "--out of memory");
    ok(!wan_err_memory(), "words of a command line are no lack of memory: %s", wan_err_text());
    wan_err("out of memory (%d bytes)", 3);
    const char *again = wan_err_text();
    ok(wan_err_memory(), "a sentence of ours is: %s", again);
    wan_err_prefix("%s", "clip");
    wan_err_suffix(" (%s)", "frames");
    ok(wan_err_memory(), "with more around it, too: %s", wan_err_text());
    wan_err("%s", wan_err_text());
    ok(wan_err_memory(), "and said again: %s", wan_err_text());
    wan_err("bad");
    wan_err_prefix("%s", "out of memory.mp4");
    ok(!wan_err_memory(), "the name of a file is not: %s", wan_err_text());
    errno = EIO;
    wan_err_errno("%s", "out of memory.mp4");
    ok(!wan_err_memory(), "nor where the system says why: %s", wan_err_text());
    wan_err_clear();
    ok(!wan_err_memory(), "and nothing is not");
}

/* A message is one write: a pipe of packets gives it as one. */
static void check_message(void)
{
    int to[2], old = dup(STDERR_FILENO);
    char said[256] = "";
    if (old < 0 || pipe2(to, O_DIRECT) < 0 || dup2(to[1], STDERR_FILENO) < 0)
        abort();
    wan_log_init("wan-test", 1);
    wan_warn("%d and %s", 1, "two\033[2J");
    wan_warn("more");
    dup2(old, STDERR_FILENO);
    ssize_t n = read(to[0], said, sizeof said - 1);
    ok(n > 0 && !strcmp(said, "wan-test: 1 and two?[2J\n"),
       "a message is written in one piece, without what a terminal would obey");
    close(to[0]);
    close(to[1]);
    close(old);
}

/* A page of a mapped file that is cut meanwhile: one sentence, and 1. */
static void check_shrunk(void)
{
    char path[] = "/tmp/wan-base.XXXXXX", said[256] = "";
    int to[2], fd = mkstemp(path), status = -1;
    if (fd < 0 || ftruncate(fd, 1 << 16) < 0 || pipe(to) < 0)
        abort();
    volatile char *map = mmap(NULL, 1 << 16, PROT_READ, MAP_SHARED, fd, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(to[1], STDERR_FILENO);
        wan_signals_filter();
        if (ftruncate(fd, 0) == 0)
            (void)map[1 << 15];
        _exit(0);
    }
    close(to[1]);
    waitpid(child, &status, 0);
    ssize_t n = read(to[0], said, sizeof said - 1);
    ok(n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1 && strstr(said, "has become shorter"),
       "a mapped file that is cut: %s", strtok(said, "\n"));
    close(to[0]);
    close(fd);
    unlink(path);
}

/* A list that grows keeps what it has, takes as much again each time, and says what it cannot have. */
static void check_grow(void)
{
    size_t *v = NULL, room = 0, grown = 0, bad = 0, n = 0;
    for (; n < 1000; n++) {
        size_t before = room, *more = wan_mem_grow(v, n, &room, sizeof *v, "numbers");
        if (!more || room <= n)
            break;
        v = more;
        v[n] = 7 * n;
        grown += room != before;
    }
    for (size_t i = 0; i < n; i++)
        bad += v[i] != 7 * i;
    ok(n == 1000 && bad == 0 && grown < 10, "a list of 1000 grows %zu times, %zu elements wrong",
       grown, bad);
    room = SIZE_MAX / 8;
    void *more = wan_mem_grow(v, room, &room, sizeof *v, "numbers");
    const char *said = wan_err_text();
    ok(!more && room == SIZE_MAX / 8 && strstr(said, "numbers"),
       "and not beyond what a size can say: %s", said);
    free(v);
}

/* ---- text in memory that cannot grow */

static int refuse; /* which realloc from now on gives nothing; 0: none */
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) /* of the library, too: tests.mk */
{
    return refuse && !--refuse ? NULL : __real_realloc(p, n);
}

enum { LINES = 100000 };

/* What wan_mem_close says of so many lines; *bad: how many of them are not there. */
static int lines_in_memory(size_t *bad)
{
    char *text, *at;
    size_t n;
    FILE *f = wan_mem_open(&text, &n);
    if (!f)
        return -1;
    for (int i = 0; i < LINES; i++)
        fprintf(f, "line %d\n", i);
    int rc = wan_mem_close(f), i = 0;
    for (at = text; *at && strtol(at + 5, &at, 10) == i; i++)
        at++;
    *bad = (size_t)(LINES - i) + (n != strlen(text));
    free(text);
    return rc;
}

static void check_text(void)
{
    size_t bad = 0;
    int k = 0, silent = 0, grown = 0;
    do {
        refuse = ++k;
        int rc = lines_in_memory(&bad);
        grown = refuse == 0; /* it came to that one */
        silent += rc == 0 && (bad || grown);
    } while (grown);
    refuse = 0;
    ok(k > 5 && !silent, "text that cannot grow, at each of %d times: %d times unsaid", k - 1,
       silent);
    ok(lines_in_memory(&bad) == 0 && !bad, "and all %d lines with memory", LINES);
}

int main(void)
{
    check_grow();
    check_text();
    check_sums();
    check_half();
    check_philox();
    check_streams();
    check_numbers();
    check_files();
    check_links();
    check_hup();
    check_message();
    check_json();
    check_memory();
    check_shrunk();
    return tap_done();
}
