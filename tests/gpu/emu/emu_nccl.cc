/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_nccl.cc - NCCL between processes of one machine, for the emulated device: a page of memory shared by the
 * ranks of a communicator, through which pieces go; the host waits where a GPU's stream would.  Sums are made in
 * the order of ranks.
 *
 * WAN_EMU_NCCL_FAIL=N: the N-th call of this process and all later ones stand still, and its communicators have an
 * asynchronous error, as when a link is lost; the others' have one too.
 */
#include "nccl.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_runtime.h"

enum : size_t { PIECE = (size_t)256 << 10 };
enum { MOST = 16 };

struct page {
    std::atomic<int> come, turn, failed;
    std::atomic<int> full[MOST][MOST]; /* of mail[from][to] */
};

struct ncclComm {
    page *p;
    char *slot; /* [n][PIECE], then mail [n][n][PIECE] */
    int n, rank;
    std::atomic<int> aborted;
};

struct ask {
    int kind; /* 's' send, 'r' receive */
    const void *x;
    void *out;
    size_t bytes, at;
    int peer;
    ncclComm_t c;
};

static int depth;
static std::vector<ask> asked;
static std::atomic<int> calls;

static size_t size_of(ncclDataType_t t)
{
    return t == ncclUint8 ? 1 : t == ncclBfloat16 ? 2 : t == ncclFloat ? 4 : 8;
}

/* ---- waiting */

static bool lost(const ncclComm_t c)
{
    return c->aborted || c->p->failed;
}

/* What a GPU would do whose peer is gone: nothing, until it is aborted. */
static ncclResult_t stand_still(ncclComm_t c)
{
    while (!c->aborted)
        usleep(1000);
    return ncclRemoteError;
}

static ncclResult_t meet(ncclComm_t c)
{
    const int turn = c->p->turn;
    if (c->p->come.fetch_add(1) + 1 == c->n) {
        c->p->come = 0;
        c->p->turn++;
        return ncclSuccess;
    }
    for (int i = 0; c->p->turn == turn; i++) {
        if (lost(c))
            return stand_still(c);
        if (i > 100)
            usleep(50);
    }
    return ncclSuccess;
}

static bool fails_now(ncclComm_t c)
{
    const char *told = getenv("WAN_EMU_NCCL_FAIL");
    if (!told || ++calls < atoi(told))
        return false;
    c->p->failed = 1;
    return true;
}

/* ---- communicators */

const char *ncclGetErrorString(ncclResult_t r)
{
    return r == ncclRemoteError ? "remote process exited or there was a network error"
           : r == ncclSuccess   ? "no error"
                                : "emulated error";
}

const char *ncclGetLastError(ncclComm_t)
{
    return "emulated NCCL";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int n;
    snprintf(id->internal, sizeof id->internal, "/wan-emu-nccl-%d-%d", (int)getpid(), n++);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *out, int n, ncclUniqueId id, int rank)
{
    const size_t mail = (size_t)n * (size_t)n * PIECE, head = 4096;
    const size_t bytes = head + (size_t)n * PIECE + mail;
    int fd = n <= MOST ? shm_open(id.internal, O_RDWR | O_CREAT, 0600) : -1;
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return ncclSystemError;
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (m == MAP_FAILED)
        return ncclSystemError;
    ncclComm_t c = *out = new ncclComm();
    c->p = (page *)m;
    c->slot = (char *)m + head;
    c->n = n, c->rank = rank;
    ncclResult_t r = meet(c);
    if (rank == 0)
        shm_unlink(id.internal);
    return r;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    delete c; /* the page goes with the process: others may still look at it */
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c)
{
    c->p->failed = 1;
    c->aborted = 1; /* a call may stand in it: it is not freed */
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *e)
{
    *e = c->p->failed ? ncclRemoteError : ncclSuccess;
    return ncclSuccess;
}

/* ---- collectives: pieces of all ranks side by side */

static double value(const char *p, ncclDataType_t t, size_t i)
{
    switch (t) {
    case ncclFloat: return ((const float *)p)[i];
    case ncclDouble: return ((const double *)p)[i];
    case ncclBfloat16: return wan_bf16_to_f32(((const uint16_t *)p)[i]);
    default: return 0;
    }
}

/* out [n] from the pieces of all ranks, at byte `at` of each. */
static void combine(ncclComm_t c, char *out, size_t at, size_t n, ncclDataType_t t, ncclRedOp_t op)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        int64_t whole = 0;
        for (int r = 0; r < c->n; r++) {
            const char *p = c->slot + (size_t)r * PIECE + at;
            double v = value(p, t, i);
            int64_t w = t == ncclInt64 ? ((const int64_t *)p)[i] : 0;
            if (op == ncclMax) {
                sum = r && !(v > sum) && v == v ? sum : v;
                whole = r && w < whole ? whole : w;
            } else { /* as a GPU adds them: in their type */
                sum = t == ncclFloat ? (double)(float)(sum + v) : sum + v;
                whole += w;
            }
        }
        if (t == ncclFloat)
            ((float *)out)[i] = (float)sum;
        else if (t == ncclDouble)
            ((double *)out)[i] = sum;
        else if (t == ncclBfloat16)
            ((uint16_t *)out)[i] = wan_f32_to_bf16((float)sum);
        else
            ((int64_t *)out)[i] = whole;
    }
}

enum kind { REDUCE, SCATTER, GATHER, COPY };

/* root -1: all get it.  x of n elements; SCATTER: [c->n][n]; GATHER: out [c->n][n]. */
static ncclResult_t collective(kind k, const void *x, void *out, size_t n, ncclDataType_t t,
                               ncclRedOp_t op, int root, ncclComm_t c, cudaStream_t s)
{
    const size_t size = size_of(t), each = PIECE / size / (k == SCATTER ? (size_t)c->n : 1);
    emu_in_order(s);
    if (fails_now(c) || lost(c))
        return stand_still(c);
    for (size_t at = 0; at < n; at += each) {
        const size_t m = n - at < each ? n - at : each;
        char *mine = c->slot + (size_t)c->rank * PIECE;
        for (int r = 0; k == SCATTER && r < c->n; r++)
            memcpy(mine + (size_t)r * m * size, (const char *)x + ((size_t)r * n + at) * size,
                   m * size);
        if (k != SCATTER && (k != COPY || c->rank == root))
            memcpy(mine, (const char *)x + at * size, m * size);
        ncclResult_t rc = meet(c);
        if (rc != ncclSuccess)
            return rc;
        char *to = (char *)out + at * size;
        if (k == REDUCE && (root < 0 || root == c->rank))
            combine(c, to, 0, m, t, op);
        else if (k == SCATTER)
            combine(c, to, (size_t)c->rank * m * size, m, t, op);
        else if (k == COPY)
            memcpy(to, c->slot + (size_t)root * PIECE, m * size);
        for (int r = 0; k == GATHER && r < c->n; r++)
            memcpy((char *)out + ((size_t)r * n + at) * size, c->slot + (size_t)r * PIECE,
                   m * size);
        rc = meet(c);
        if (rc != ncclSuccess)
            return rc;
    }
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                           ncclComm_t c, cudaStream_t s)
{
    return collective(REDUCE, x, out, n, t, op, -1, c, s);
}

ncclResult_t ncclReduce(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                        int root, ncclComm_t c, cudaStream_t s)
{
    return collective(REDUCE, x, out, n, t, op, root, c, s);
}

ncclResult_t ncclBroadcast(const void *x, void *out, size_t n, ncclDataType_t t, int root,
                           ncclComm_t c, cudaStream_t s)
{
    return collective(COPY, x, out, n, t, ncclSum, root, c, s);
}

ncclResult_t ncclAllGather(const void *x, void *out, size_t n, ncclDataType_t t, ncclComm_t c,
                           cudaStream_t s)
{
    return collective(GATHER, x, out, n, t, ncclSum, -1, c, s);
}

ncclResult_t ncclReduceScatter(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                               ncclComm_t c, cudaStream_t s)
{
    return collective(SCATTER, x, out, n, t, op, -1, c, s);
}

/* ---- sends and receives, all of a group at once */

ncclResult_t ncclGroupStart(void)
{
    depth++;
    return ncclSuccess;
}

/* One piece on, where the mailbox lets it. */
static bool step(ask *a)
{
    ncclComm_t c = a->c;
    const int from = a->kind == 's' ? c->rank : a->peer, to = a->kind == 's' ? a->peer : c->rank;
    char *box = c->slot + ((size_t)c->n + (size_t)from * (size_t)c->n + (size_t)to) * PIECE;
    const size_t m = a->bytes - a->at < PIECE ? a->bytes - a->at : PIECE;
    if (c->p->full[from][to] != (a->kind == 'r'))
        return false;
    if (a->kind == 's')
        memcpy(box, (const char *)a->x + a->at, m);
    else
        memcpy((char *)a->out + a->at, box, m);
    a->at += m;
    c->p->full[from][to] = a->kind == 's';
    return true;
}

/* Whether an earlier one of the same kind and peer goes first. */
static bool behind(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (asked[k].at < asked[k].bytes && asked[k].kind == asked[i].kind &&
            asked[k].peer == asked[i].peer && asked[k].c == asked[i].c)
            return true;
    return false;
}

ncclResult_t ncclGroupEnd(void)
{
    if (--depth)
        return ncclSuccess;
    ncclResult_t rc = ncclSuccess;
    for (bool left = true; left && rc == ncclSuccess;) {
        bool moved = left = false;
        for (size_t i = 0; i < asked.size() && rc == ncclSuccess; i++) {
            ask *a = &asked[i];
            if (a->at == a->bytes)
                continue;
            left = true;
            moved = (!behind(i) && step(a)) || moved;
            if (lost(a->c))
                rc = stand_still(a->c);
        }
        if (left && !moved)
            usleep(50);
    }
    asked.clear();
    return rc;
}

static ncclResult_t pair(ask a, cudaStream_t s)
{
    emu_in_order(s);
    if (fails_now(a.c) || lost(a.c))
        return stand_still(a.c);
    ncclGroupStart();
    asked.push_back(a);
    return ncclGroupEnd();
}

ncclResult_t ncclSend(const void *x, size_t n, ncclDataType_t t, int to, ncclComm_t c,
                      cudaStream_t s)
{
    return pair({ 's', x, NULL, n * size_of(t), 0, to, c }, s);
}

ncclResult_t ncclRecv(void *x, size_t n, ncclDataType_t t, int from, ncclComm_t c, cudaStream_t s)
{
    return pair({ 'r', NULL, x, n * size_of(t), 0, from, c }, s);
}
