/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - a fuzz target without a fuzzer: each seed, so many changed ones of it, always the same, and
 * (-k) each seed while the k-th allocation of the program fails, for every k up to so many.
 *
 *     build/replay/NAME [-m MUTANTS] [-k MOST] FILE...
 *     build/replay/NAME -o K FILE            only the K-th allocation fails, in this process
 *
 * Linked with --wrap, so that calls of malloc in libwan come here; jansson's go through libwan.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

extern int fuzz_poor;

/* ---- memory that fails */

static long calls, fails_at;

static int fails(void)
{
    if (++calls != fails_at)
        return 0;
    errno = ENOMEM;
    return 1;
}

#define WRAP(type, name, params, args)                                                             \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        return fails() ? NULL : __real_##name args;                                                \
    }
WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

/* ---- inputs */

enum { SECONDS = 60 }; /* for one; then it hangs */
static void run(const uint8_t *data, size_t n)
{
    alarm(SECONDS);
    LLVMFuzzerTestOneInput(data, n);
}

typedef struct input {
    uint8_t *data;
    size_t n;
    const char *name;
} input;

static uint64_t state;

static uint32_t pick(size_t n) /* 0..n-1 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n ? (uint32_t)((state >> 16) % n) : 0;
}

static input load(const char *name)
{
    input in = { .name = name };
    char *text;
    if (wan_slurp(&text, &in.n, name, 1 << 20) < 0) {
        fprintf(stderr, "%s\n", wan_err_text());
        exit(1);
    }
    in.data = (uint8_t *)text;
    return in;
}

/* One of: a bit, a byte, a number of 4 bytes, an end cut off, a range taken out, doubled, or from another
 * input.  buf holds twice the size of the largest. */
static size_t change(uint8_t *buf, size_t n, const input *other)
{
    static const uint32_t number[] = { 0,          1,          0x7f,       0x80,
                                       0xff,       0x7fff,     0xffff,     0x7fffffff,
                                       0x80000000, 0xffffffff, 0x00ffffff, 0x10000000 };
    size_t at = pick(n), len = pick(n - at < 64 ? n - at : 64);
    switch (n ? pick(7) : 6) {
    case 0: buf[at] ^= (uint8_t)(1u << pick(8)); break;
    case 1: buf[at] = (uint8_t)pick(256); break;
    case 2:
        if (n - at >= 4)
            memcpy(buf + at, &number[pick(sizeof number / sizeof *number)], 4);
        break;
    case 3: return at;
    case 4: memmove(buf + at, buf + at + len, n - at - len); return n - len;
    case 5: memmove(buf + at + len, buf + at, n - at); return n + len;
    default: {
        size_t from = pick(other->n), k = other->n - from < 64 ? other->n - from : 64;
        memcpy(buf + at, other->data + from, k);
        return at + k > n ? at + k : n;
    }
    }
    return n;
}

static long mutate(const input *in, int n, int mutants)
{
    size_t largest = 64;
    for (int i = 0; i < n; i++)
        largest = in[i].n > largest ? in[i].n : largest;
    uint8_t *buf = malloc(2 * largest + 1024);
    for (int i = 0; buf && i < n; i++)
        for (int m = 0; m < mutants; m++) {
            state = 0x9e3779b97f4a7c15u * (uint64_t)(i * 1000003 + m + 1);
            size_t size = in[i].n;
            memcpy(buf, in[i].data, size);
            for (uint32_t k = 1 + pick(4); k > 0 && size < 2 * largest; k--)
                size = change(buf, size, &in[pick((size_t)n)]);
            run(buf, size);
        }
    free(buf);
    return (long)n * mutants;
}

/* A process for each k, as what follows a failure (json.c) is for good. */
static long starve(const input *in, long most)
{
    calls = 0;
    run(in->data, in->n);
    long all = calls, tried = 0, step = all > most ? all / most + 1 : 1;
    for (long k = 1; k <= all; k += step, tried++) {
        int status;
        pid_t p = fork();
        if (!p) {
            calls = 0;
            fuzz_poor = 1;
            fails_at = k;
            run(in->data, in->n);
            fails_at = 0;
            *fuzz_dir = 0; /* stays the parent's */
            exit(0);       /* not _exit: leaks and counters are told there */
        }
        if (p < 0 || waitpid(p, &status, 0) < 0 || status) {
            fprintf(stderr, "%s: allocation %ld of %ld failed: status %d (%s)\n", in->name, k, all,
                    status, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
            exit(1);
        }
    }
    return tried;
}

int main(int argc, char **argv)
{
    int c, mutants = 0, most = 0, n = 0;
    long starved = 0;
    int one = 0;
    while ((c = getopt(argc, argv, "m:k:o:")) != -1)
        *(c == 'm' ? &mutants : c == 'k' ? &most : &one) = atoi(optarg);
    input *in = calloc((size_t)argc + 1, sizeof *in);
    for (int i = optind; in && i < argc; i++)
        in[n++] = load(argv[i]);
    fuzz_poor = one;
    calls = 0;
    fails_at = one;
    for (int i = 0; i < n; i++)
        run(in[i].data, in[i].n);
    long mutated = mutate(in, n, mutants);
    for (int i = 0; i < n && most; i++)
        starved += starve(&in[i], most);
    printf("%d seeds, %ld changed, %ld with an allocation that fails\n", n, mutated, starved);
    for (int i = 0; i < n; i++)
        free(in[i].data);
    free(in);
    return 0;
}
