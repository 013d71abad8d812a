/* SPDX-License-Identifier: Apache-2.0
 *
 * trap.c - AMX for a CPU without it: a preloaded library that answers cpuid, xgetbv and arch_prctl
 * as a CPU with amx_tile and amx_bf16 would, and carries out the tile instructions when they trap
 * as illegal, after Intel's description of them (SDM volume 2, chapter 3 and 4).
 *
 * The program's own encoded instructions run, and so does what oneDNN generates for AMX; all else
 * runs natively (AVX512-BF16 is needed).  What the CPU would refuse ends the program with a line.
 * AMX_SITES: "object offset" lines, where cpuid and xgetbv stand (tests/kernels/amx/run finds them).
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, BYTES = 64, XTILE = 3 << 17 };

/* The 64 bytes of LDTILECFG. */
typedef struct config {
    uint8_t palette, start_row, zero[14];
    uint16_t colsb[16];
    uint8_t rows[16];
} config;

static __thread config cfg __attribute__((tls_model("initial-exec")));
static __thread uint8_t tile[TILES][ROWS][BYTES]
    __attribute__((tls_model("initial-exec"), aligned(64)));
static atomic_int permitted;
static atomic_ulong count[5]; /* configs, loads, stores, products, releases */

static void refuse(const char *why)
{
    static const char head[] = "amx trap: ";
    (void)!write(2, head, sizeof head - 1);
    (void)!write(2, why, strlen(why));
    (void)!write(2, "\n", 1);
    _exit(132);
}

/* ---- what the CPU and the kernel say */

static void emu_cpuid(greg_t *g)
{
    unsigned a = (unsigned)g[REG_RAX], c = (unsigned)g[REG_RCX], b, d;
    unsigned leaf = a, sub = c;
    __cpuid_count(leaf, sub, a, b, c, d);
    if (leaf == 0 && a < 0x1e)
        a = 0x1e;
    if (leaf == 7 && sub == 0)
        d |= 1u << 22 | 1u << 24 | 1u << 25;
    if (leaf == 0x1d)
        a = sub == 0   ? 1
            : sub == 1 ? 8192 | 1024 << 16
                       : 0,
        b = sub == 1 ? 64 | 8 << 16 : 0, c = sub == 1 ? 16 : 0, d = 0;
    if (leaf == 0x1e)
        a = c = d = 0, b = sub == 0 ? 16 | 64 << 8 : 0;
    g[REG_RAX] = a, g[REG_RBX] = b, g[REG_RCX] = c, g[REG_RDX] = d;
}

static void emu_xgetbv(greg_t *g)
{
    unsigned a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"((unsigned)g[REG_RCX]));
    g[REG_RAX] = a | XTILE, g[REG_RDX] = d;
}

/* Takes the place of libc's: only arch_prctl's questions about tile data are answered here. */
long syscall(long n, ...)
{
    long a[6], r;
    va_list v;
    va_start(v, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(v, long);
    va_end(v);
    if (n == SYS_arch_prctl && a[0] == 0x1023) /* ARCH_REQ_XCOMP_PERM */
        return a[1] == 18 ? atomic_store(&permitted, 1), 0 : -1;
    if (n == SYS_arch_prctl && (a[0] == 0x1021 || a[0] == 0x1022)) /* supported, permitted */
        return *(uint64_t *)a[1] =
                   0xe7 | 1 << 17 | (a[0] == 0x1021 || atomic_load(&permitted) ? 1 << 18 : 0),
                          0;
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (r < 0 && r > -4096) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

/* ---- tiles */

static int width(int t)
{
    return cfg.colsb[t];
}

static void check_tile(int t)
{
    if (!cfg.palette)
        refuse("tile instruction without a configuration on this thread");
    if (t >= TILES || !cfg.rows[t] || width(t) % 4)
        refuse("tile not configured, or of a width that is no multiple of 4");
}

static void load_config(const config *c)
{
    static const uint8_t zero[16];
    if (c->palette > 1)
        refuse("LDTILECFG: no such palette");
    if (memcmp(c->zero, zero, sizeof c->zero) || memcmp(c->colsb + 8, zero, 16) ||
        memcmp(c->rows + 8, zero, 8))
        refuse("LDTILECFG: reserved bytes are not zero");
    for (int t = 0; t < TILES; t++)
        if (c->colsb[t] > BYTES || c->rows[t] > ROWS || !c->colsb[t] != !c->rows[t])
            refuse("LDTILECFG: tile larger than 16 rows of 64 bytes, or half empty");
    cfg = *c;
    memset(tile, 0, sizeof tile);
}

static void release(void)
{
    memset(&cfg, 0, sizeof cfg);
    memset(tile, 0, sizeof tile);
}

/* Sums of even and odd products apart, then both onto C; round to nearest, subnormals are zero. */
static void product(int c, int a, int b)
{
    check_tile(c), check_tile(a), check_tile(b);
    if (c == a || c == b || a == b)
        refuse("TDPBF16PS: the same tile twice");
    if (cfg.rows[c] != cfg.rows[a] || width(c) != width(b) || width(a) / 4 != cfg.rows[b])
        refuse("TDPBF16PS: shapes do not fit");
    _mm_setcsr(0x9fc0);
    for (int m = 0; m < cfg.rows[c]; m++) {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        for (int k = 0; k < cfg.rows[b]; k++) {
            uint32_t x;
            memcpy(&x, tile[a][m] + 4 * k, 4);
            __m512i y = _mm512_load_si512(tile[b][k]), high = _mm512_set1_epi32((int)0xffff0000);
            even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(x << 16))),
                                   _mm512_castsi512_ps(_mm512_slli_epi32(y, 16)), even);
            odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(x & 0xffff0000))),
                                  _mm512_castsi512_ps(_mm512_and_si512(y, high)), odd);
        }
        __m512 *o = (__m512 *)tile[c][m];
        *o = _mm512_add_ps(*o, _mm512_add_ps(even, odd));
    }
    for (int m = cfg.rows[c]; m < ROWS; m++)
        memset(tile[c][m], 0, BYTES);
}

static void load(int t, const char *p, int64_t stride)
{
    check_tile(t);
    memset(tile[t], 0, sizeof tile[t]);
    for (int r = 0; r < cfg.rows[t]; r++)
        memcpy(tile[t][r], p + r * stride, (size_t)width(t));
}

static void store(int t, char *p, int64_t stride)
{
    check_tile(t);
    for (int r = 0; r < cfg.rows[t]; r++)
        memcpy(p + r * stride, tile[t][r], (size_t)width(t));
}

/* ---- instructions */

/* gregs of registers 0..15 */
static const int reg[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15
};

/* A memory operand: *base its address without the index, *index scaled; returns its end. */
static const uint8_t *operand(const uint8_t *p, const uint8_t *vex, const greg_t *g, int64_t *base,
                              int64_t *index)
{
    int mod = *p >> 6, rm = *p & 7, b = !(vex[1] & 0x20) << 3, x = !(vex[1] & 0x40) << 3;
    int32_t disp = 0;
    p++;
    *base = *index = 0;
    if (rm == 4) {
        int i = (*p >> 3 & 7) | x;
        rm = *p & 7;
        if (i != 4)
            *index = g[reg[i]] * (1 << (*p >> 6));
        p++;
        if (rm == 5 && mod == 0)
            mod = 4; /* disp32 and no base */
    } else if (rm == 5 && mod == 0) {
        memcpy(&disp, p, 4);
        *base = (int64_t)(intptr_t)(p + 4) + disp; /* none of these has an immediate */
        return p + 4;
    }
    if (mod != 4)
        *base = g[reg[rm | b]];
    if (mod == 1)
        disp = (int8_t)*p++;
    if (mod == 2 || mod == 4)
        memcpy(&disp, p, 4), p += 4;
    *base += disp;
    return p;
}

/* VEX.128 of map 0F38: returns the next instruction, NULL where it is none of ours. */
static const uint8_t *step(const uint8_t *v, const greg_t *g)
{
    if (v[0] != 0xc4 || (v[1] & 0x1f) != 2 || v[2] & 0x84)
        return NULL;
    int pp = v[2] & 3, op = v[3], direct = v[4] >= 0xc0, r = v[4] >> 3 & 7;
    int64_t base, index;
    if (op != 0x49 && op != 0x4b && op != 0x5c)
        return NULL;
    if (!atomic_load(&permitted))
        refuse("tile instruction before arch_prctl gave leave");
    if (op == 0x5c && pp == 2 && direct) {
        count[3]++;
        product(r, v[4] & 7, ~v[2] >> 3 & 15);
        return v + 5;
    }
    if (op == 0x49 && direct) {
        if (pp == 0) {
            count[4]++;
            release();
        } else if (pp == 3) {
            check_tile(r);
            memset(tile[r], 0, sizeof tile[r]);
        } else {
            return NULL;
        }
        return v + 5;
    }
    if (direct || op == 0x5c)
        return NULL;
    const uint8_t *end = operand(v + 4, v, g, &base, &index);
    char *p = (char *)(intptr_t)base;
    if (op == 0x49 && pp == 0) {
        count[0]++;
        load_config((const config *)(p + index));
    } else if (op == 0x49 && pp == 1) {
        memcpy(p + index, &cfg, sizeof cfg);
    } else if (op == 0x4b && (pp == 3 || pp == 1)) { /* TILELOADD, TILELOADDT1 */
        count[1]++;
        load(r, p, index);
    } else if (op == 0x4b && pp == 2) {
        count[2]++;
        store(r, p, index);
    } else {
        return NULL;
    }
    return end;
}

/* ---- cpuid (0f a2) and xgetbv (0f 01 d0) are overwritten by ud2 (0f 0b) */

enum { SITES = 4096 };
static struct {
    const uint8_t *p;
    int len;
} site[SITES];
static int sites;

static int site_length(const uint8_t *p)
{
    for (int i = 0; i < sites; i++)
        if (site[i].p == p)
            return site[i].len;
    return 0;
}

static void trapped(int sig, siginfo_t *info, void *context)
{
    (void)info;
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *p = (const uint8_t *)(intptr_t)g[REG_RIP], *end = p;
    if (p[0] == 0x0f && p[1] == 0x0b) {
        int len = site_length(p);
        if (len == 2)
            emu_cpuid(g);
        else if (len == 3)
            emu_xgetbv(g);
        end = len ? p + len : NULL;
    } else {
        end = step(p, g);
    }
    if (!end) { /* not ours: die of it */
        signal(sig, SIG_DFL);
        return;
    }
    g[REG_RIP] = (greg_t)(intptr_t)end;
}

static void overwrite(uint8_t *p)
{
    int len = p[0] != 0x0f ? 0 : p[1] == 0xa2 ? 2 : p[1] == 0x01 && p[2] == 0xd0 ? 3 : 0;
    uintptr_t page = (uintptr_t)p & ~(uintptr_t)4095;
    if (!len || sites == SITES || mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
        refuse("AMX_SITES does not fit the program");
    site[sites].p = p;
    site[sites++].len = len;
    p[1] = 0x0b;
}

/* One loaded object: all its lines in AMX_SITES, named by the last part of its path. */
static int patch_object(struct dl_phdr_info *o, size_t size, void *arg)
{
    char name[256], want[256];
    unsigned long at;
    (void)size;
    FILE *f = fopen((const char *)arg, "r");
    if (!f)
        refuse("cannot read AMX_SITES");
    ssize_t n = o->dlpi_name[0] ? 0 : readlink("/proc/self/exe", name, sizeof name - 1);
    name[n > 0 ? n : 0] = 0;
    const char *path = n > 0 ? name : o->dlpi_name, *last = strrchr(path, '/');
    while (fscanf(f, "%255s %lx", want, &at) == 2)
        if (strcmp(want, last ? last + 1 : path) == 0)
            overwrite((uint8_t *)o->dlpi_addr + at);
    fclose(f);
    return 0;
}

/* Runs before libc's own start (-z initfirst), when getenv does not work yet. */
__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
    static const char name[] = "AMX_SITES=";
    struct sigaction s = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER };
    (void)argc, (void)argv;
    sigaction(SIGILL, &s, NULL);
    for (; *env; env++)
        if (strncmp(*env, name, sizeof name - 1) == 0)
            dl_iterate_phdr(patch_object, *env + sizeof name - 1);
}

__attribute__((destructor)) static void report(void)
{
    if (count[0])
        fprintf(stderr,
                "# amx trap: %lu configurations, %lu releases, %lu loads, %lu stores, "
                "%lu products\n",
                count[0], count[4], count[1], count[2], count[3]);
}
