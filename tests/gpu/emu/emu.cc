/* SPDX-License-Identifier: Apache-2.0
 *
 * emu.cc - the emulated device: fibers, memory, plain matrix products.
 */
#include "cuda_runtime.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#include "counts.h"
#include "cublasLt.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

static int64_t counts[EMU_COUNTS];
extern "C" __attribute__((visibility("default"))) const int64_t *emu_counts(void)
{
    return counts;
}

dim3 threadIdx, blockIdx, blockDim, gridDim;
enum { SHARED = 163 << 10 }; /* of compute capability 8.0, the smallest */
alignas(1024) extern float cuda_shared[];
alignas(1024) float cuda_shared[SHARED / sizeof(float)];
static std::map<const void *, int> shared_leave;

/* ---- fp16: 5 bits of exponent, 10 of mantissa */

float emu_f16_value(uint16_t bits)
{
    const int e = bits >> 10 & 31, m = bits & 1023;
    const double v = e == 31 ? m ? NAN : INFINITY : std::ldexp(e ? 1024 + m : m, (e ? e : 1) - 25);
    return (float)(bits & 0x8000 ? -v : v);
}

uint16_t emu_f16_bits(float f)
{
    const unsigned sign = std::signbit(f) ? 0x8000 : 0;
    int e;
    if (f != f)
        return (uint16_t)(sign | 0x7e00);
    std::frexp(std::fabs((double)f), &e);
    e = f == 0 || e < -13 ? -14 : e > 17 ? 16 : e - 1;
    double q = std::nearbyint(std::ldexp(std::fabs((double)f), 10 - e));
    if (q >= 2048 && e < 16)
        q = 1024, e++;
    if (e > 15)
        return (uint16_t)(sign | 0x7c00);
    return (uint16_t)(sign +
                      (q < 1024 ? (unsigned)q : ((unsigned)(e + 15) << 10) + (unsigned)q - 1024));
}

/* ---- planted faults */

/* name_argument_argument of this program */
static std::string who_am_i(void)
{
    std::string s;
    FILE *f = fopen("/proc/self/cmdline", "r");
    for (int c; f && (c = fgetc(f)) != EOF;)
        s += c ? (char)c : '_';
    if (f)
        fclose(f);
    return s.substr(s.rfind('/', s.find('_')) + 1);
}

int emu_fault(const char *kind)
{
    static const std::string me = who_am_i();
    const char *all = getenv("WAN_EMU_FAULT");
    for (std::string rest = all ? all : ""; !rest.empty();) {
        size_t end = rest.find(' '), colon = rest.find(':');
        if (rest.substr(0, colon) == kind &&
            me.find(rest.substr(colon + 1, end == std::string::npos ? end : end - colon - 1)) !=
                std::string::npos)
            return 1;
        rest = end == std::string::npos ? "" : rest.substr(end + 1);
    }
    return 0;
}

/* ---- fibers: ucontext makes a stack, _setjmp and _longjmp change stacks (no system calls) */

enum : size_t { STACK = 64 << 10 };

struct barrier {
    unsigned count, round;
};

struct fiber {
    jmp_buf at;
    char *stack;
    int done;
};

static std::vector<fiber> fibers;
static ucontext_t creator;
static jmp_buf scheduler;
static unsigned running, threads;
static barrier whole, warps[32], named[16];
static uint64_t slots[32][32];
static const std::function<void()> *kernel_body;

static void yield_to_others(void)
{
    if (!_setjmp(fibers[running].at))
        _longjmp(scheduler, 1);
}

static void wait_at(barrier *b, unsigned expected)
{
    unsigned round = b->round;
    if (++b->count == expected) {
        b->count = 0;
        b->round++;
        return;
    }
    while (b->round == round)
        yield_to_others();
}

void __syncthreads(void)
{
    wait_at(&whole, threads);
}

void emu_warp_barrier(void)
{
    unsigned w = threadIdx.x / 32, n = threads - w * 32;
    wait_at(&warps[w], n < 32 ? n : 32);
}

void emu_barrier(int which, int n)
{
    wait_at(&named[which], (unsigned)n);
}

void emu_others(void)
{
    yield_to_others();
}

unsigned emu_shared_at(const void *p)
{
    return (unsigned)((const char *)p - (const char *)cuda_shared);
}

uint64_t *emu_lane_slot(int lane)
{
    return &slots[threadIdx.x / 32][lane];
}

/* Lives as long as the fiber: one round per block. */
static void fiber_main(void)
{
    ucontext_t here;
    if (!_setjmp(fibers[running].at))
        swapcontext(&here, &creator); /* ready; goes on when resumed */
    for (;;) {
        (*kernel_body)();
        fibers[running].done = 1;
        yield_to_others();
    }
}

static void fiber_new(void)
{
    fiber f;
    ucontext_t c;
    memset(&f, 0, sizeof f);
    f.stack = (char *)malloc(STACK);
    fibers.push_back(f);
    running = (unsigned)fibers.size() - 1;
    getcontext(&c);
    c.uc_stack.ss_sp = f.stack;
    c.uc_stack.ss_size = STACK;
    c.uc_link = NULL;
    makecontext(&c, fiber_main, 0);
    swapcontext(&creator, &c);
}

static void fiber_resume(unsigned t)
{
    running = t;
    threadIdx = dim3(t, 0, 0);
    if (!_setjmp(scheduler))
        _longjmp(fibers[t].at, 1);
}

/* ---- streams: all is done at once, but for copies from host memory, and to it in streams without kernels: these
 * as late as a GPU may do them, so that a wait that is missing shows. */

struct emu_stream {
    int kernels; /* it has run some */
    std::deque<std::function<void()>> left;
    size_t done; /* in front of `left` */
};

/* Milliseconds of all products so far: two each, one with the algorithm of WAN_EMU_FASTEST. */
static double device_ms;

/* What was asked of a stream while it was captured, with the numbers of that call. */
struct emu_graph {
    std::vector<std::function<void()>> nodes;
    std::map<char *, size_t> blocks; /* of cudaMalloc, that they were given */
};

static cudaStream_t capturing; /* one at a time */
static emu_graph *captured;
static int broken; /* something was asked for that no graph can hold */
static enum cudaStreamCaptureMode capture_mode;
static thread_local bool captures; /* this thread began the capture */

/* Of calls that a capture does not outlive: memory, waits, copies that involve the host. */
static bool in_capture(void)
{
    if (!captured || (capture_mode == cudaStreamCaptureModeThreadLocal && !captures))
        return false;
    broken = 1;
    return true;
}

bool emu_kept(cudaStream_t s, const std::function<void()> &what)
{
    if (!captured || s != capturing)
        return false;
    captured->nodes.push_back(what);
    return true;
}

void emu_holds(cudaStream_t s, const void *params, size_t bytes)
{
    const char *p;
    size_t size;
    if (!captured || s != capturing)
        return;
    for (size_t i = 0; i + sizeof p <= bytes; i += sizeof p) {
        memcpy(&p, (const char *)params + i, sizeof p);
        if (char *start = emu_block_of(p, &size))
            captured->blocks[start] = size;
    }
}

static int replaying; /* a graph is being run */

void emu_called(void)
{
    counts[EMU_CALLS] += !replaying;
}

struct emu_event {
    int recorded; /* and not waited for since by the host */
    emu_stream *s;
    size_t upto;
    double ms;
};

static void finish(emu_stream *s, size_t upto)
{
    for (; s && s->done < upto && !s->left.empty(); s->done++) {
        s->left.front()();
        s->left.pop_front();
    }
}

void emu_in_order(cudaStream_t s)
{
    finish(s, SIZE_MAX);
}

/* Runs one block; aborts when no thread can go on: a barrier that not all threads reach.  Every
 * other block runs its threads backwards, so that a missing barrier shows in one of the two. */
static void run_block(void)
{
    static unsigned turn;
    unsigned left = threads, idle = 0, back = turn++ % 2;
    whole.count = 0;
    memset(warps, 0, sizeof warps);
    memset(named, 0, sizeof named);
    for (unsigned t = 0; t < threads; t++)
        fibers[t].done = 0;
    while (left) {
        unsigned before = left;
        for (unsigned i = 0; i < threads; i++) {
            unsigned t = back ? threads - 1 - i : i;
            if (fibers[t].done)
                continue;
            fiber_resume(t);
            left -= fibers[t].done != 0;
        }
        idle = left == before ? idle + 1 : 0;
        if (idle > 1000000) {
            fprintf(stderr, "emulated kernel: threads wait for each other\n");
            abort();
        }
    }
}

static thread_local bool chosen; /* this thread has called cudaSetDevice */

/* Compute capability: WAN_EMU_SM, or 90. */
static int capability(void)
{
    const char *told = getenv("WAN_EMU_SM");
    return told ? atoi(told) : 90;
}

/* Most shared memory of a block: chips for pictures have less. */
static int most_shared(void)
{
    const int sm = capability();
    return sm == 86 || sm == 89 || sm >= 120 ? 99 << 10 : SHARED;
}

/* Without leave from cudaFuncSetAttribute a block has 48 KB of dynamic shared memory. */
static size_t shared_limit(const void *f)
{
    std::map<const void *, int>::iterator it = shared_leave.find(f);
    return it == shared_leave.end() ? 48 << 10 : (size_t)it->second;
}

/* The limits of compute capability 8.0 to 10.0; whole warps, because the kernels count on them. */
static void launch_check(const cudaLaunchConfig_t *c, const void *f)
{
    const dim3 *g = &c->gridDim, *b = &c->blockDim;
    const char *bad = b->x < 1 || b->x > 1024 || b->y != 1 || b->z != 1 ? "threads"
                      : b->x % 32 && b->x > 1                           ? "part of a warp"
                      : g->x < 1 || g->x > 2147483647u                  ? "grid x"
                      : g->y < 1 || g->y > 65535                        ? "grid y"
                      : g->z < 1 || g->z > 65535                        ? "grid z"
                      : c->dynamicSmemBytes > shared_limit(f)           ? "shared memory"
                                                                        : NULL;
    if (!bad)
        return;
    fprintf(stderr, "emulated kernel: %s: grid %u x %u x %u, %u threads, %zu bytes shared\n", bad,
            g->x, g->y, g->z, b->x, c->dynamicSmemBytes);
    abort();
}

cudaError_t emu_launch(const cudaLaunchConfig_t *c, const void *f,
                       const std::function<void()> &body)
{
    static const int hang = emu_fault("hang"), wrong = emu_fault("wrong");
    launch_check(c, f);
    const cudaLaunchConfig_t same = *c;
    if (emu_kept(c->stream, [same, f, body]() { emu_launch(&same, f, body); }))
        return cudaSuccess;
    counts[EMU_LAUNCHES]++;
    emu_called();
    if (c->stream)
        c->stream->kernels = 1;
    emu_in_order(c->stream);
    while (hang)
        pause();
    threads = c->blockDim.x;
    while (fibers.size() < threads)
        fiber_new();
    kernel_body = &body;
    blockDim = c->blockDim;
    gridDim = c->gridDim;
    for (unsigned y = 0; y < gridDim.y; y++)
        for (unsigned x = 0; x < gridDim.x; x++) {
            blockIdx = dim3(x, y, 0);
            memset(cuda_shared, 0xff, c->dynamicSmemBytes); /* NaN: nothing may rely on zeros */
            if (x || y || !wrong)
                run_block();
        }
    return cudaSuccess;
}

/* ---- runtime */

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaErrorMemoryAllocation           ? "out of memory"
           : e == cudaErrorStreamCaptureUnsupported ? "not while a stream is captured"
           : e == cudaErrorStreamCaptureInvalidated ? "the capture failed before"
           : e == cudaErrorIllegalAddress ? "it was recorded with memory that has been freed since"
                                          : "emulated error";
}
const char *cudaGetErrorName(cudaError_t)
{
    return "emulated";
}
cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int)
{
    chosen = true;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    finish(s, SIZE_MAX);
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    finish(s, SIZE_MAX);
    counts[EMU_WAITS]++;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    emu_called();
    *e = { 1, s, s->done + s->left.size(), device_ms };
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t e, unsigned)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    emu_called();
    finish(e->s, e->upto);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = (float)(to->ms - from->ms);
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    counts[EMU_WAITS] += e->recorded;
    e->recorded = 0;
    finish(e->s, e->upto);
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute, int v)
{
    if (v < 0 || v > most_shared())
        return cudaErrorInvalidValue;
    shared_leave[f] = v;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *)
{
    a->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return emu_fault("driver") ? cudaErrorInsufficientDriver : cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *v)
{
    *v = emu_fault("driver") ? 12040 : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int)
{
    const int sm = capability(), value[] = { sm / 10, sm % 10, 4, most_shared() };
    *v = value[a];
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated device");
    p->major = 9;
    p->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new emu_stream();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emu_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, 0);
}

/* What is handed out, and how much the device has. */
static std::map<void *, size_t> blocks;
static size_t in_use;
static std::mutex memory; /* over both */

char *emu_block_of(const void *p, size_t *bytes)
{
    std::lock_guard<std::mutex> hold(memory);
    std::map<void *, size_t>::iterator it = blocks.upper_bound((void *)p);
    if (it == blocks.begin() || (const char *)p >= (char *)(--it)->first + it->second)
        return NULL;
    *bytes = it->second;
    return (char *)it->first;
}

static size_t device_bytes(void)
{
    const char *told = getenv("WAN_EMU_MEMORY");
    return emu_fault("memory") ? 4096 : told ? (size_t)atoll(told) : (size_t)1 << 40;
}

/* What was freed last is not handed out again at once: who still uses it would not be seen.  AddressSanitizer does the
 * same. */
enum : size_t { RESTING = 256, RESTING_BYTES = 64 << 20 };
static std::deque<std::pair<void *, size_t>> resting;
static size_t resting_bytes;

static void rest(void *p, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
    bytes = RESTING_BYTES + 1;
#endif
    if (bytes > RESTING_BYTES) {
        free(p);
        return;
    }
    memset(p, 0xff, bytes);
    resting.push_back({ p, bytes });
    resting_bytes += bytes;
    while (resting.size() > RESTING || resting_bytes > RESTING_BYTES) {
        resting_bytes -= resting.front().second;
        free(resting.front().first);
        resting.pop_front();
    }
}

/* Sizes are kept exact (only the start is aligned), so that AddressSanitizer sees every overrun. */
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    *p = NULL;
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    std::lock_guard<std::mutex> hold(memory);
    counts[EMU_ALLOCS]++;
    if (in_use + bytes > device_bytes() || posix_memalign(p, 256, bytes) != 0)
        return cudaErrorMemoryAllocation;
    memset(*p, 0xff, bytes);
    in_use += blocks[*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    std::lock_guard<std::mutex> hold(memory);
    counts[EMU_ALLOCS]++;
    if (!p)
        return cudaSuccess;
    const size_t bytes = blocks[p];
    in_use -= bytes;
    blocks.erase(p);
    rest(p, bytes);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    counts[EMU_ALLOCS]++;
    return posix_memalign(p, 256, bytes) ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaHostRegister(void *p, size_t, unsigned)
{
    if (emu_fault("pin"))
        return cudaErrorMemoryAllocation;
    return p ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaHostUnregister(void *p)
{
    return p ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaFreeHost(void *p)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    counts[EMU_ALLOCS]++;
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = device_bytes() < (size_t)1 << 30 ? device_bytes() : (size_t)1 << 30;
    *free_bytes = *total > in_use ? *total - in_use : 0;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, enum cudaMemcpyKind k,
                            cudaStream_t st)
{
    if (!chosen) {
        fprintf(stderr,
                "emulated copy: by a thread that has not chosen its device: it opens the first\n");
        abort();
    }
    if (k != cudaMemcpyDeviceToDevice && in_capture())
        return cudaErrorStreamCaptureUnsupported;
    const void *const params[] = { d, s };
    emu_holds(st, params, sizeof params);
    if (emu_kept(st, [=]() { cudaMemcpyAsync(d, s, n, k, st); }))
        return cudaSuccess;
    emu_called();
    counts[EMU_TO_DEVICE] += k == cudaMemcpyHostToDevice;
    counts[EMU_IN_LINE] += k == cudaMemcpyHostToDevice && st && st->kernels;
    counts[EMU_TO_HOST] += k == cudaMemcpyDeviceToHost;
    if (st && (k == cudaMemcpyHostToDevice || (k == cudaMemcpyDeviceToHost && !st->kernels))) {
        st->left.push_back([=]() { memcpy(d, s, n); });
        return cudaSuccess;
    }
    emu_in_order(st);
    if (emu_touch) {
        emu_touch(s, n, 0);
        emu_touch(d, n, 1);
    }
    memcpy(d, s, n);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s)
{
    emu_holds(s, &p, sizeof p);
    if (emu_kept(s, [=]() { cudaMemsetAsync(p, v, n, s); }))
        return cudaSuccess;
    emu_called();
    emu_in_order(s);
    if (emu_touch)
        emu_touch(p, n, 1);
    memset(p, v, n);
    return cudaSuccess;
}

/* ---- graphs */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    if (captured)
        return cudaErrorStreamCaptureUnsupported;
    capturing = s;
    capture_mode = mode;
    captures = true;
    captured = new emu_graph();
    broken = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    if (!captured || s != capturing)
        return cudaErrorInvalidValue;
    *g = captured;
    captured = NULL;
    captures = false;
    if (!broken)
        return cudaSuccess;
    delete *g;
    *g = NULL;
    return cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    *e = new emu_graph(*g);
    counts[EMU_NODES] += (int64_t)g->nodes.size();
    return cudaSuccess;
}

/* Whether the memory that a graph was recorded with is there: a GPU would read and write whatever is there now. */
static bool all_there(const emu_graph *e)
{
    std::lock_guard<std::mutex> hold(memory);
    for (const std::pair<char *const, size_t> &b : e->blocks) {
        std::map<void *, size_t>::iterator it = blocks.find(b.first);
        if (it == blocks.end() || it->second < b.second)
            return false;
    }
    return true;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t)
{
    if (in_capture())
        return cudaErrorStreamCaptureUnsupported;
    counts[EMU_GRAPHS]++;
    emu_called();
    if (!all_there(e))
        return cudaErrorIllegalAddress;
    replaying++;
    for (const std::function<void()> &node : e->nodes)
        node();
    replaying--;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e)
{
    counts[EMU_NODES] -= (int64_t)e->nodes.size();
    delete e;
    return cudaSuccess;
}

/* ---- cuBLASLt */

struct emu_matmul {
    cublasOperation_t ta, tb;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    cudaDataType_t bias_type;
    const float *a_scale, *b_scale; /* of eight bits */
    void *aux;
    int64_t aux_ld;
};

struct emu_layout {
    cudaDataType_t t;
    uint64_t rows, cols;
    int64_t ld;
};

/* Descriptions alive: a caller that keeps one for every shape runs out of them. */
enum { MOST_LAYOUTS = 3200 };
static int layouts;

size_t cublasLtGetVersion(void)
{
    return 130100;
}
const char *cublasLtGetStatusString(cublasStatus_t)
{
    return "emulated status";
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t)
{
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = (cublasLtHandle_t)1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = (cublasLtMatmulPreference_t)1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t,
                                        cudaDataType_t)
{
    *d = new emu_matmul();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a, const void *v,
                                              size_t bytes)
{
    void *to[] = { &d->ta,      &d->tb,      &d->epilogue, &d->bias,  &d->bias_type,
                   &d->a_scale, &d->b_scale, &d->aux,      &d->aux_ld };
    const bool word = a == CUBLASLT_MATMUL_DESC_TRANSA || a == CUBLASLT_MATMUL_DESC_TRANSB ||
                      a == CUBLASLT_MATMUL_DESC_EPILOGUE ||
                      a == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE;
    size_t size = word ? sizeof(int) : sizeof(void *);
    if (bytes != size)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to[a], v, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t t,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *l = NULL;
    if (layouts == MOST_LAYOUTS)
        return CUBLAS_STATUS_ALLOC_FAILED;
    layouts++;
    *l = new emu_layout();
    (*l)->t = t, (*l)->rows = rows, (*l)->cols = cols, (*l)->ld = ld;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    layouts -= l != NULL;
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}

static bool eight_bits(cudaDataType_t t)
{
    return t == CUDA_R_8F_E4M3 || t == CUDA_R_8F_E5M2;
}

/* Epilogues beside the bias: of products of bf16 and of eight bits, a GELU written in bf16, with rows of aux that
 * are read eight at a time; sums of B beside bf16 alone.  WAN_EMU_FAULT=plain:who has none of them. */
static bool epilogue_supported(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                               cublasLtMatrixLayout_t o)
{
    static const int plain = emu_fault("plain");
    const int e = d->epilogue, gelu = e & (CUBLASLT_EPILOGUE_GELU | 64);
    if (!gelu && e != CUBLASLT_EPILOGUE_BGRADB)
        return true;
    if (plain || a->t == CUDA_R_32F || (e == CUBLASLT_EPILOGUE_BGRADB && d->bias_type != o->t))
        return false;
    if ((e & 128) && (d->aux_ld % 8 || d->aux_ld < (int64_t)o->rows || (uintptr_t)d->aux % 16))
        return false;
    return gelu ? o->t == CUDA_R_16BF : !eight_bits(a->t);
}

/* As a strict cuBLASLt would: bf16 only where columns start on 16 bytes, eight bits too, and those only
 * along the sum, and never e5m2 with e5m2. */
static bool supported(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                      cublasLtMatrixLayout_t o)
{
    if (!epilogue_supported(d, a, o))
        return false;
    if (!eight_bits(a->t))
        return a->t == CUDA_R_32F || (a->ld % 8 == 0 && b->ld % 8 == 0);
    return d->ta == CUBLAS_OP_T && d->tb == CUBLAS_OP_N && a->ld % 16 == 0 && b->ld % 16 == 0 &&
           o->ld * (o->t == CUDA_R_32F ? 4 : 2) % 16 == 0 && eight_bits(b->t) &&
           !(a->t == CUDA_R_8F_E5M2 && b->t == CUDA_R_8F_E5M2) &&
           (!(d->epilogue & CUBLASLT_EPILOGUE_BIAS) || d->bias_type == CUDA_R_16BF);
}

/* Algorithms: k in one sum, or in 2, 3, 4 that are rounded to fp32 and added at the end. */
enum { ALGORITHMS = 4 };
static const uint64_t algorithm_mark = 0xa190;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t o,
                                              cublasLtMatmulPreference_t, int want,
                                              cublasLtMatmulHeuristicResult_t *r, int *got)
{
    counts[EMU_SEARCHES]++;
    *got = supported(d, a, b, o) ? want < ALGORITHMS ? want : ALGORITHMS : 0;
    for (int i = 0; i < *got; i++) {
        memset(&r[i], 0, sizeof r[i]);
        r[i].algo.data[0] = algorithm_mark + (uint64_t)i;
        r[i].state = CUBLAS_STATUS_SUCCESS;
    }
    return *got ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t o,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *r)
{
    memset(r, 0, sizeof *r);
    r->algo = *algo;
    return supported(d, a, b, o) && algo->data[0] - algorithm_mark < ALGORITHMS
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* The number of a code with so many bits of mantissa. */
static float eight(unsigned code, int mantissa)
{
    const int bias = mantissa == 3 ? 7 : 15, e = (int)(code & 0x7f) >> mantissa;
    const int m = (int)(code & ((1u << mantissa) - 1));
    double v = e ? std::ldexp(1 + std::ldexp((double)m, -mantissa), e - bias)
                 : std::ldexp((double)m, 1 - bias - mantissa);
    if ((code & 0x7f) > (mantissa == 3 ? 0x7eu : 0x7bu))
        v = mantissa == 3 || m ? NAN : INFINITY;
    return (float)(code & 0x80 ? -v : v);
}

static float element(const void *p, cudaDataType_t t, int64_t i)
{
    if (eight_bits(t))
        return eight(((const unsigned char *)p)[i], t == CUDA_R_8F_E4M3 ? 3 : 2);
    return t == CUDA_R_32F ? ((const float *)p)[i] : wan_bf16_to_f32(((const uint16_t *)p)[i]);
}

/* Element (row, col) of op(x). */
static float element_of(const void *p, cublasLtMatrixLayout_t l, cublasOperation_t op, int64_t row,
                        int64_t col)
{
    return element(p, l->t, op == CUBLAS_OP_T ? col + row * l->ld : row + col * l->ld);
}

/* Operands once, column by column; the bias is small. */
static void matrix_moves(const void *p, cublasLtMatrixLayout_t l, int write)
{
    const size_t one = l->t == CUDA_R_32F ? 4 : eight_bits(l->t) ? 1 : 2;
    for (uint64_t j = 0; j < l->cols; j++)
        emu_touch((const char *)p + j * (size_t)l->ld * one, l->rows * one, write);
}

static void matmul_moves(cublasLtMatmulDesc_t d, const void *A, cublasLtMatrixLayout_t a,
                         const void *B, cublasLtMatrixLayout_t b, int add, const void *C,
                         cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t o)
{
    const uint64_t k = d->ta == CUBLAS_OP_T ? a->rows : a->cols;
    matrix_moves(A, a, 0);
    matrix_moves(B, b, 0);
    if (add)
        matrix_moves(C, c, 0);
    if (d->epilogue & 128) {
        emu_layout aux = *o;
        aux.ld = d->aux_ld;
        matrix_moves(d->aux, &aux, (d->epilogue & CUBLASLT_EPILOGUE_GELU) != 0);
    }
    matrix_moves(D, o, 1);
    emu_spend(2.0 * (double)o->rows * (double)o->cols * (double)k);
}

/* Descriptions, factors and pointers of this call. */
static cublasStatus_t keep_product(cublasLtMatmulDesc_t d, const void *alpha, const void *A,
                                   cublasLtMatrixLayout_t a, const void *B,
                                   cublasLtMatrixLayout_t b, const void *beta, const void *C,
                                   cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t o,
                                   const cublasLtMatmulAlgo_t *algo, cudaStream_t stream)
{
    const emu_matmul how = *d;
    const cublasLtMatmulAlgo_t way = *algo;
    const emu_layout a0 = *a, b0 = *b, c0 = *c, o0 = *o;
    const float al = *(const float *)alpha, be = *(const float *)beta;
    emu_kept(stream, [=]() {
        emu_matmul m = how;
        emu_layout l[4] = { a0, b0, c0, o0 };
        cublasLtMatmul(NULL, &m, &al, A, &l[0], B, &l[1], &be, C, &l[2], D, &l[3], &way, NULL, 0,
                       stream);
    });
    return CUBLAS_STATUS_SUCCESS;
}

/* Element x of row i of op(A): [x * m + i]. */
static std::vector<double> left_of(cublasLtMatmulDesc_t d, const void *A, cublasLtMatrixLayout_t a,
                                   uint64_t m, uint64_t k)
{
    std::vector<double> left(m * k);
    for (uint64_t x = 0; x < k; x++)
        for (uint64_t i = 0; i < m; i++)
            left[x * m + i] = (double)element_of(A, a, d->ta, (int64_t)i, (int64_t)x);
    return left;
}

/* Column j of the product, each element in so many sums. */
static void column_of(std::vector<float> &all, const std::vector<double> &left,
                      cublasLtMatmulDesc_t d, const void *B, cublasLtMatrixLayout_t b, uint64_t j,
                      uint64_t k, uint64_t sums)
{
    const uint64_t m = all.size();
    std::vector<double> sum(m);
    std::fill(all.begin(), all.end(), 0);
    for (uint64_t part = 0; part < sums; part++) {
        std::fill(sum.begin(), sum.end(), 0);
        for (uint64_t x = part; x < k; x += sums) {
            const double right = (double)element_of(B, b, d->tb, (int64_t)x, (int64_t)j);
            for (uint64_t i = 0; i < m; i++)
                sum[i] += left[x * m + i] * right;
        }
        for (uint64_t i = 0; i < m; i++)
            all[i] += (float)sum[i];
    }
}

static void put(void *p, cudaDataType_t t, int64_t at, float v)
{
    if (t == CUDA_R_32F)
        ((float *)p)[at] = v;
    else
        ((uint16_t *)p)[at] = wan_f32_to_bf16(v);
}

/* GELU, its tanh form, and its derivative. */
static float gelu(float x)
{
    const double z = (double)x;
    return (float)(0.5 * z * (1 + std::tanh(std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z))));
}

static float gelu_slope(float x)
{
    const double z = (double)x, c = std::sqrt(2 / M_PI),
                 t = std::tanh(c * (z + 0.044715 * z * z * z));
    return (float)(0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z));
}

/* What becomes of v, element (i, j) of the product, on its way to memory. */
static float epilogue(cublasLtMatmulDesc_t d, cudaDataType_t t, uint64_t i, uint64_t j, float v)
{
    const int64_t at = (int64_t)i + (int64_t)j * d->aux_ld;
    if (d->epilogue & CUBLASLT_EPILOGUE_BIAS)
        v += element(d->bias, d->bias_type, (int64_t)i);
    if (d->epilogue == CUBLASLT_EPILOGUE_DGELU)
        return v * gelu_slope(element(d->aux, t, at));
    if (!(d->epilogue & CUBLASLT_EPILOGUE_GELU))
        return v;
    if (d->epilogue & 128)
        put(d->aux, t, at, v);
    return gelu(v);
}

/* The sum of column j of op(B). */
static void sum_b(cublasLtMatmulDesc_t d, const void *B, cublasLtMatrixLayout_t b, uint64_t j,
                  uint64_t k)
{
    double sum = 0;
    for (uint64_t x = 0; x < k; x++)
        sum += (double)element_of(B, b, d->tb, (int64_t)x, (int64_t)j);
    put((void *)(uintptr_t)d->bias, d->bias_type, (int64_t)j, (float)sum);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t o,
                              const cublasLtMatmulAlgo_t *algo, void *work, size_t,
                              cudaStream_t stream)
{
    const void *const params[] = { A, B, C, D, work, d->bias, d->a_scale, d->b_scale, d->aux };
    emu_holds(stream, params, sizeof params);
    if (captured && stream == capturing)
        return keep_product(d, alpha, A, a, B, b, beta, C, c, D, o, algo, stream);
    static const char *const told = getenv("WAN_EMU_FASTEST");
    const uint64_t label = algo->data[0] - algorithm_mark, sums = label + 1;
    emu_called();
    emu_in_order(stream);
    if (emu_spend)
        matmul_moves(d, A, a, B, b, *(const float *)beta != 0, C, c, D, o);
    device_ms += label == (told ? (uint64_t)atoi(told) : 0) ? 1 : 2;
    uint64_t m = d->ta == CUBLAS_OP_T ? a->cols : a->rows;
    uint64_t k = d->ta == CUBLAS_OP_T ? a->rows : a->cols;
    uint64_t n = d->tb == CUBLAS_OP_T ? b->rows : b->cols;
    float al = *(const float *)alpha, be = *(const float *)beta;
    if (k != (d->tb == CUBLAS_OP_T ? b->cols : b->rows) || m != o->rows || n != o->cols ||
        (a->t != b->t && !(eight_bits(a->t) && eight_bits(b->t))) ||
        (a->t == CUDA_R_32F && o->t != CUDA_R_32F) ||
        ((d->epilogue & CUBLASLT_EPILOGUE_BIAS) && d->bias_type != o->t) || label >= ALGORITHMS ||
        !epilogue_supported(d, a, o))
        return CUBLAS_STATUS_INVALID_VALUE;
    const std::vector<double> left = left_of(d, A, a, m, k);
    std::vector<float> all(m);
    for (uint64_t j = 0; j < n; j++) {
        column_of(all, left, d, B, b, j, k, sums);
        for (uint64_t i = 0; i < m; i++) {
            float v = al * all[i];
            if (eight_bits(a->t))
                v *= *d->a_scale * *d->b_scale;
            if (be != 0)
                v += be * element(C, c->t, (int64_t)i + (int64_t)j * c->ld);
            put(D, o->t, (int64_t)i + (int64_t)j * o->ld, epilogue(d, o->t, i, j, v));
        }
        if (d->epilogue == CUBLASLT_EPILOGUE_BGRADB)
            sum_b(d, B, b, j, k);
    }
    return CUBLAS_STATUS_SUCCESS;
}
