/* SPDX-License-Identifier: Apache-2.0
 *
 * nodriver.c - a stand-in for libcuda.so.1 in check_sdpa_graph: every call succeeds and does
 * nothing.  Here are the calls that must answer with something; the makefile adds a weak function
 * for every other symbol of the toolkit's driver stub.
 */
#include <dlfcn.h>

enum { NOT_FOUND = 500, UNSUPPORTED = 801 };

static char object[1 << 16];

int cuDriverGetVersion(int *v)
{
    *v = 13000;
    return 0;
}
int cuGetExportTable(void)
{
    return UNSUPPORTED;
}

int cuGetProcAddress_v2(const char *name, void **p, int version, unsigned long long flags,
                        int *found)
{
    void *self = dlopen("libcuda.so.1", RTLD_LAZY);
    *p = dlsym(self, name);
    if (found)
        *found = *p ? 0 : 1;
    return *p ? 0 : NOT_FOUND;
}

/* Calls that hand out an object or a number. */
/* clang-format off */
#define OBJECT(name) int name(void **p) { *p = object; return 0; }
#define NUMBER(name) int name(int *p) { *p = 1; return 0; }
OBJECT(cuLibraryLoadData) OBJECT(cuLibraryGetKernel) OBJECT(cuKernelGetFunction)
OBJECT(cuModuleLoadData) OBJECT(cuModuleLoadDataEx) OBJECT(cuModuleGetFunction)
OBJECT(cuLibraryGetModule) OBJECT(cuCtxGetCurrent)
    /* clang-format on */
    NUMBER(cuCtxGetDevice) NUMBER(cuFuncGetAttribute) NUMBER(cuKernelGetAttribute)
        NUMBER(cuDeviceGetAttribute) NUMBER(cuDeviceGetCount) NUMBER(cuDeviceGet)
            NUMBER(cuOccupancyMaxActiveBlocksPerMultiprocessor) NUMBER(cuOccupancyMaxActiveClusters)

                int cuLibraryGetGlobal(void **p, unsigned long *n)
{
    if (p)
        *p = object;
    if (n)
        *n = 64;
    return 0;
}
