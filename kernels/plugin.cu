/* SPDX-License-Identifier: Apache-2.0
 *
 * plugin.cu - the entry of libwan-cuda.so: what the program finds, and which kernel is in which
 * slot.  Every op has a CUDA kernel.
 */
#include "kernels/device_cuda.cuh"

const wan_plugin_host *wan_cuda_host;

/* Any error of the first call means that there is nothing to run on; say which piece is missing. */
static int probe(int *devices)
{
    int n = 0, driver = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    *devices = 0;
    if (e == cudaSuccess && n > 0) {
        *devices = n;
        return 0;
    }
    cudaGetLastError();
    if (e == cudaSuccess || e == cudaErrorNoDevice)
        return wan_cuda_host->err("cuda: no CUDA device on this machine");
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return wan_cuda_host->err("cuda: no NVIDIA driver on this machine "
                                  "(libcuda.so.1 not found)");
    if (e != cudaErrorInsufficientDriver)
        return cuda_check(e, "looking for devices");
    return wan_cuda_host->err("cuda: the NVIDIA driver is for CUDA %d.%d, this build needs %d.%d",
                              driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                              CUDART_VERSION % 1000 / 10);
}

static void fill(wan_ops *o)
{
#define X(name) o->name = wan_##name##_cuda;
    WAN_OPS(X)
#undef X
}

static const wan_plugin plugin = { wan_device_cuda, probe, fill };

extern "C" const wan_plugin *wan_cuda_backend(const wan_plugin_host *host)
{
    if (host->abi != WAN_PLUGIN_ABI || host->ops_bytes != sizeof(wan_ops))
        return NULL;
    wan_cuda_host = host;
    return &plugin;
}
