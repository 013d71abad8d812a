/* SPDX-License-Identifier: Apache-2.0
 * cuDNN's graphs of attention and convolution: every descriptor is accepted, and a plan is made for device 0; with
 * WAN_DEVICE_IN_WORDS 90 or 100 (and the libcuda of nodriver.c), for an H100 or a B200 that need not
 * be here.  Nothing is run. */
#include "kernels/conv_graph.cuh"
#include "kernels/sdpa_graph.cuh"
#include "kernels/space.h"

extern "C" {
#include "tests/tap.h"
}

/* What cuDNN asks of a device (9.19), with the values of an H100 SXM and of a B200. */
static const struct {
    const char *name;
    int sm, processors;
    long l2;
    double memory;
} known[] = {
    { "NVIDIA H100 80GB HBM3", 90, 132, 52428800, 85e9 },
    { "NVIDIA B200", 100, 148, 132644864, 191e9 },
};
static const char words[] =
    "{\"deviceVer\": %d, \"driverVer\": 13000, \"maxGridSize\": [2147483647, 65535, 65535], "
    "\"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, \"multiProcessorCount\": %d, "
    "\"smClockRateKHz\": 1980000, \"memClockRateKHz\": 2619000, \"l2CacheSize\": %ld, "
    "\"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152, "
    "\"maxSharedMemoryPerBlockOptin\": 232448, \"reservedSharedMemoryPerBlock\": 1024, "
    "\"maxRegistersPerSM\": 65536, \"pciDeviceId\": 0, "
    "\"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, "
    "\"isTccDriver\": 0, \"supportCoopLaunch\": 1, \"cudaDeviceId\": 0, "
    "\"totalGlobalMem\": %.0f, \"deviceName\": \"%s\"}";

/* The device that is planned for: in words, or device 0. */
static struct {
    cudnnBackendDescriptor_t d;
    int sm;
} device;

static char message[512];

static int record(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    return -1;
}

static const wan_plugin_host host = { WAN_PLUGIN_ABI, sizeof(wan_ops), record, NULL, NULL };
const wan_plugin_host *wan_cuda_host = &host;

static void one(int64_t b, int64_t h, int64_t sq, int64_t sk, int64_t hd, int ragged, int backward,
                int deterministic, int bias)
{
    sdpa_plan p = sdpa_plan();
    int64_t ld = h * hd;
    sdpa_shape s = { b, h, sq, sk, hd, ld, ld, ld, ld, ragged, backward, deterministic, bias };
    p.shape = s;
    p.sm = device.sm;
    char name[200];
    snprintf(name, sizeof name, "b %d h %d q %d k %d hd %d%s%s%s%s", (int)b, (int)h, (int)sq,
             (int)sk, (int)hd, ragged ? " ragged" : "", bias ? " key bias" : "",
             backward ? " backward" : " forward", deterministic ? " deterministic" : "");
    message[0] = 0;
    if (ok(sdpa_graph_describe(&p) == 0, "%s: described %s", name, message)) {
        if (device.d) {
            sdpa_graph_plan(&p, NULL, device.d);
            /* cuDNN 9.19 cannot: attention_cudnn.cu then takes samples one by one */
            int known_gap = device.sm / 10 == 10 && ragged && bias && deterministic;
            ok(p.found || known_gap, "%s: %s, workspace %.1f MB%s %s", name,
               p.found ? "planned" : "NOT planned", (double)p.workspace / 1e6,
               p.nondeterministic ? ", not deterministic" : "", p.found ? "" : p.why);
            const int64_t scores = deterministic ? h * wan_space_scores(b, sq, sk) : 0;
            ok(p.workspace <= scores + WAN_SPACE_GRAPH,
               "  no more than is reserved for it (space.h): %lld bytes beside the scores",
               (long long)(p.workspace - scores));
        }
    }
    sdpa_graph_free(&p);
}

/* A convolution of the VAE at 480x832. */
static void convolution(const wan_conv *c, int y_half, int f16, int add)
{
    conv_plan p = conv_plan();
    char name[200];
    p.key.c = *c;
    p.key.y_half = y_half, p.key.f16 = f16, p.key.bias = 1, p.key.add = add;
    snprintf(name, sizeof name, "%d -> %d channels, %dx%dx%d taps, %dx%dx%d, past %d%s%s",
             (int)c->Ci, (int)c->Co, c->kt, c->kh, c->kw, (int)c->T, (int)c->H, (int)c->W,
             (int)c->past, add ? ", residual" : "", f16 ? ", fp16" : "");
    message[0] = 0;
    if (ok(conv_graph_describe(&p) == 0, "%s: described %s", name, message) && device.d) {
        dnn_plan_make(&p, NULL, device.d);
        ok(p.found && !p.nondeterministic, "%s: %s, workspace %.1f MB %s", name,
           p.found ? "planned" : "NOT planned", (double)p.workspace / 1e6, p.found ? "" : p.why);
    }
    dnn_plan_free(&p);
}

static void convolutions(void)
{
    static const struct {
        wan_conv c;
        int y_half, add, f16;
    } layers[] = {
        { { 96, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 480, 832, 0 }, 1, 0 },
        { { 96, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 480, 832, 0 }, 0, 1 },
        { { 384, 384, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 60, 104, 2 }, 0, 1 }, /* a first frame */
        { { 96, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 480, 832, 0 }, 0, 0 },
        { { 192, 192, 1, 3, 3, 1, 2, 2, 0, 1, 0, 1, 1, 240, 416, 0 }, 1, 0 },
        { { 192, 96, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 480, 832, 0 },
          0,
          0 }, /* of enlarged frames */
        { { 384, 192, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3, 240, 416, 0 }, 0, 0 },
        { { 384, 768, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 6, 60, 104, 0 }, 1, 0 },
        { { 96, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 480, 832, 0 }, 1, 0, 1 }, /* fp16 */
        { { 384, 384, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 60, 104, 2 }, 0, 1, 1 },
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        convolution(&layers[i].c, layers[i].y_half, layers[i].f16, layers[i].add);
}

/* -1: there is none. */
static int describe_device(void)
{
    const char *sm = getenv("WAN_DEVICE_IN_WORDS");
    int32_t first = 0;
    int n = 0, k = sm && atoi(sm) == 100, major = 0, minor = 0;
    char json[1024];
    device.sm = known[k].sm;
    snprintf(json, sizeof json, words, 10 * known[k].sm, known[k].processors, known[k].l2,
             known[k].memory, known[k].name);
    if (!sm && (cudaGetDeviceCount(&n) != cudaSuccess || n < 1))
        return -1;
    if (!sm &&
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess)
        device.sm = 10 * major + minor;
    printf("# cuDNN %zu, plans for %s\n", cudnnGetVersion(), sm ? known[k].name : "device 0");
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device.d) !=
        CUDNN_STATUS_SUCCESS)
        return -1;
    cudnnStatus_t s =
        sm ? cudnnBackendSetAttribute(device.d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                      CUDNN_TYPE_CHAR, (int64_t)strlen(json) + 1, json)
           : cudnnBackendSetAttribute(device.d, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32,
                                      1, &first);
    return s == CUDNN_STATUS_SUCCESS && cudnnBackendFinalize(device.d) == CUDNN_STATUS_SUCCESS ? 0
                                                                                               : -1;
}

int main(void)
{
    if (describe_device() < 0) {
        device.d = NULL;
        tap_skip("plans", "no CUDA device");
    }
    for (int back = 0; back < 2; back++)
        for (int fixed = 0; fixed <= back; fixed++) {
            one(1, 12, 32760, 32760, 128, 0, back, fixed, 0);
            one(1, 40, 38912, 128, 128, 1, back, fixed, 1);
            one(1, 40, 4680, 129, 128, 0, back, fixed, 1);
            one(3, 12, 1024, 1024, 128, 1, back, fixed, 0);
            one(2, 2, 128, 512, 64, 1, back, fixed, 1);
        }
    convolutions();
    if (device.d)
        cudnnBackendDestroyDescriptor(device.d);
    return tap_done();
}
