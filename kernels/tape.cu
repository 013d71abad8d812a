/* SPDX-License-Identifier: Apache-2.0
 *
 * tape.cu - work that is kept and done again, on CUDA: a capture of the stream, as a graph.
 */
#include "kernels/device_cuda.cuh"

#include <cstdlib>

struct wan_tape {
    cudaGraphExec_t exec;
};

static int record(wan_dev *d)
{
    /* of this thread: a transport's own copies and waits for them, meanwhile (lib/dist/where.h) */
    CUDA_TRY(cudaStreamBeginCapture(cuda_stream(d), cudaStreamCaptureModeThreadLocal));
    cuda_of(d)->recording = 1;
    return 0;
}

static int recorded(wan_dev *d, wan_tape **t)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    cuda_of(d)->recording = 0;
    if (!t) {
        if (cudaStreamEndCapture(cuda_stream(d), &graph) == cudaSuccess)
            cudaGraphDestroy(graph);
        cudaGetLastError();
        return -1;
    }
    WAN_TRY(cuda_check(cudaStreamEndCapture(cuda_stream(d), &graph),
                       "something was asked for that cannot be recorded"));
    cudaError_t e = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    WAN_TRY(cuda_check(e, "a recording"));
    *t = (wan_tape *)calloc(1, sizeof **t);
    if (*t) {
        (*t)->exec = exec;
        return 0;
    }
    cudaGraphExecDestroy(exec);
    return wan_cuda_host->err("cuda: out of memory");
}

static int replay(wan_dev *d, wan_tape *t)
{
    return cuda_check(cudaGraphLaunch(t->exec, cuda_stream(d)), "a recorded graph");
}

static void drop(wan_dev *d, wan_tape *t)
{
    cudaStreamSynchronize(cuda_stream(d));
    cudaGraphExecDestroy(t->exec);
    free(t);
}

const wan_recorder cuda_tape = { record, recorded, replay, drop };
