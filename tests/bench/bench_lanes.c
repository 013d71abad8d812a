/* SPDX-License-Identifier: Apache-2.0
 * Into how many pieces the work of each parallel region falls at 1.3B's shapes, and what of it is lost when
 * so many threads take them as they become free: counted, nothing runs. */
#include "kernels/attention_simd.h"
#include "kernels/linear_simd.h"
#include "tests/bench/bench.h"

enum { QUERIES = 96, KEYS = 416, PIECES = 4, ELEMENTS = 2048 };

static const int threads[] = { 2, 8, 32, 64, 128 };
enum { COLUMNS = sizeof threads / sizeof *threads };

/* Pieces and their sizes: n whole ones and, where rest > 0, a smaller one behind each `per`. */
typedef struct work {
    int64_t n, per;
    double rest;
} work;

/* The time until the last thread is done, over the time if nothing were lost. */
static double loss(const work *w, int t)
{
    double free_at[128] = { 0 }, total = 0, last = 0;
    for (int64_t i = 0; i < w->n; i++) {
        double size = w->rest > 0 && i % w->per == w->per - 1 ? w->rest : 1;
        int first = 0;
        for (int k = 1; k < t; k++)
            first = free_at[k] < free_at[first] ? k : first;
        free_at[first] += size;
        total += size;
        last = free_at[first] > last ? free_at[first] : last;
    }
    return last * t / total;
}

static work even(int64_t n, int t)
{
    (void)t;
    return (work){ n, 1, 0 };
}

static void print(const char *name, const work *w)
{
    printf("| %s |", name);
    for (int i = 0; i < COLUMNS; i++)
        printf(" %lld: %.2f |", (long long)w[i].n, loss(&w[i], threads[i]));
    printf("\n");
}

static void count(const char *name, int64_t n)
{
    work w[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        w[i] = even(n, threads[i]);
    print(name, w);
}

static int64_t parts(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

/* Attention backward: a task is a block of keys, and follows the one before it through the blocks of queries, in `group`
 * heads at a time (attention_bwd_simd.c); whole heads where these come out even. */
static double follow(int64_t heads, int64_t blocks, int64_t steps, int64_t group, int t)
{
    double *all = calloc((size_t)(heads * steps), sizeof *all), free_at[128] = { 0 }, last = 0;
    if (!all)
        exit(1);
    for (int64_t n = 0; n < heads * blocks; n++) {
        int64_t from = n / (group * blocks) * group, at = n % (group * blocks);
        int64_t turns = heads - from < group ? heads - from : group;
        double *passed = all + (from + at % turns) * steps; /* times, 0 at first */
        int first = 0;
        for (int k = 1; k < t; k++)
            first = free_at[k] < free_at[first] ? k : first;
        double now = free_at[first];
        for (int64_t s = 0; s < steps; s++) {
            now = (passed[s] > now ? passed[s] : now) + 1;
            passed[s] = now;
        }
        free_at[first] = now;
        last = now > last ? now : last;
    }
    free(all);
    return last * t / (double)(heads * blocks * steps);
}

/* Whole heads, in which nothing else is a task, or n pieces of each. */
static void forward(const char *name, int64_t heads, int64_t n)
{
    work w[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        w[i] = even(wan_attn_whole(heads, threads[i]) ? heads : heads * n, threads[i]);
    print(name, w);
}

static void backward(int64_t heads, int64_t tokens)
{
    int64_t halves = wan_attn_halves(tokens);
    printf("| attention backward, blocks of keys |");
    for (int i = 0; i < COLUMNS; i++) {
        int64_t whole = wan_attn_whole(heads, threads[i]);
        int64_t join = wan_attn_join(heads * halves / 2, threads[i]);
        int64_t n = whole ? 1 : halves / join, steps = (tokens + QUERIES - 1) / QUERIES;
        int64_t group = whole ? 1 : wan_attn_group(heads, n, threads[i]);
        printf(" %lld: %.2f |", (long long)(heads * n), follow(heads, n, steps, group, threads[i]));
    }
    printf("\n");
}

/* A product: columns go fastest, so that the last of each row of tasks is the narrow one. */
static void product(const char *name, int64_t M, int64_t N, int64_t K)
{
    work w[COLUMNS], p[COLUMNS];
    char text[80];
    for (int i = 0; i < COLUMNS; i++) {
        wan_linear_cut c = wan_linear_cut_for(M, N, K, threads[i]);
        int64_t cb = parts(N, c.columns), last = N - (cb - 1) * c.columns;
        w[i] = (work){ parts(M, c.rows) * cb, cb, cb > 1 ? (double)last / (double)c.columns : 0 };
        p[i] = even(parts(K, c.depth) * parts(N, c.pack), threads[i]);
    }
    snprintf(text, sizeof text, "%s %lldx%lldx%lld", name, (long long)M, (long long)N,
             (long long)K);
    print(text, w);
    snprintf(text, sizeof text, "... its packing");
    print(text, p);
}

int main(void)
{
    static const int64_t tokens[] = { 1560, 32760 };
    const int64_t D = 1536, F = 8960, H = 12;
    for (int i = 0; i < 2; i++) {
        int64_t S = tokens[i];
        printf("\n1.3B, %lld tokens: pieces, and the time of the slowest thread over the mean\n\n"
               "| region | 2 threads | 8 | 32 | 64 | 128 |\n|---|---:|---:|---:|---:|---:|\n",
               (long long)S);
        product("forward", S, D, D);
        product("forward", S, F, D);
        product("forward", S, D, F);
        product("weight gradient", D, D, S);
        product("weight gradient", F, D, S);
        product("weight gradient", D, F, S);
        forward("attention forward, blocks of queries", H, parts(S, QUERIES));
        forward("... its packing", H, parts(S, KEYS) * PIECES);
        backward(H, S);
        count("norms, residuals: rows", S);
        count("GELU: chunks", parts(S * F, 512));
        count("AdamW of one feed-forward: chunks", parts(D * F, ELEMENTS));
    }
    return 0;
}
