/* SPDX-License-Identifier: Apache-2.0
 * Attention's cuDNN graphs: every descriptor is accepted, and cuDNN makes a plan for device 0; with
 * WAN_H100_IN_WORDS set (and the libcuda of nodriver.c), for an H100 that need not be here.
 * Nothing is run. */
#include "kernels/sdpa_graph.cuh"

extern "C" {
#include "tests/tap.h"
}

/* What cuDNN asks of a device (9.19); the values are an H100 SXM's. */
static const char h100[] =
    "{\"deviceVer\": 900, \"driverVer\": 13000, \"maxGridSize\": [2147483647, 65535, 65535], "
    "\"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, \"multiProcessorCount\": 132, "
    "\"smClockRateKHz\": 1980000, \"memClockRateKHz\": 2619000, \"l2CacheSize\": 52428800, "
    "\"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152, "
    "\"maxSharedMemoryPerBlockOptin\": 232448, \"reservedSharedMemoryPerBlock\": 1024, "
    "\"maxRegistersPerSM\": 65536, \"pciDeviceId\": 0, "
    "\"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, "
    "\"isTccDriver\": 0, \"supportCoopLaunch\": 1, \"cudaDeviceId\": 0, "
    "\"totalGlobalMem\": 85000000000, \"deviceName\": \"NVIDIA H100 80GB HBM3\"}";

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

static void one(cudnnBackendDescriptor_t device, int64_t b, int64_t h, int64_t sq, int64_t sk,
                int64_t hd, int ragged, int backward, int deterministic, int bias)
{
    sdpa_plan p = sdpa_plan();
    int64_t ld = h * hd;
    sdpa_shape s = { b, h, sq, sk, hd, ld, ld, ld, ld, ragged, backward, deterministic, bias };
    p.shape = s;
    char name[200];
    snprintf(name, sizeof name, "b %d h %d q %d k %d hd %d%s%s%s%s", (int)b, (int)h, (int)sq,
             (int)sk, (int)hd, ragged ? " ragged" : "", bias ? " key bias" : "",
             backward ? " backward" : " forward", deterministic ? " deterministic" : "");
    message[0] = 0;
    if (ok(sdpa_graph_describe(&p) == 0, "%s: described %s", name, message)) {
        if (device) {
            sdpa_graph_plan(&p, NULL, device);
            ok(p.found, "%s: planned, workspace %.1f MB%s %s", name, (double)p.workspace / 1e6,
               p.nondeterministic ? ", not deterministic" : "", p.found ? "" : p.why);
        }
    }
    sdpa_graph_free(&p);
}

/* NULL: there is none. */
static cudnnBackendDescriptor_t describe_device(void)
{
    cudnnBackendDescriptor_t d = NULL;
    int32_t first = 0;
    int n = 0, words = getenv("WAN_H100_IN_WORDS") != NULL;
    if (!words && (cudaGetDeviceCount(&n) != cudaSuccess || n < 1))
        return NULL;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d) !=
        CUDNN_STATUS_SUCCESS)
        return NULL;
    cudnnStatus_t s =
        words ? cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                         CUDNN_TYPE_CHAR, sizeof h100, h100) :
                cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1,
                                         &first);
    if (s == CUDNN_STATUS_SUCCESS && cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS)
        return d;
    cudnnBackendDestroyDescriptor(d);
    return NULL;
}

int main(void)
{
    cudnnBackendDescriptor_t device = describe_device();
    if (!device)
        tap_skip("plans", "no CUDA device");
    for (int back = 0; back < 2; back++)
        for (int fixed = 0; fixed <= back; fixed++) {
            one(device, 1, 12, 32760, 32760, 128, 0, back, fixed, 0);
            one(device, 1, 40, 38912, 128, 128, 1, back, fixed, 1);
            one(device, 3, 12, 1024, 1024, 128, 1, back, fixed, 0);
            one(device, 2, 2, 128, 512, 64, 1, back, fixed, 1);
        }
    if (device)
        cudnnBackendDestroyDescriptor(device);
    return tap_done();
}
