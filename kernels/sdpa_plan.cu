/* SPDX-License-Identifier: Apache-2.0
 *
 * sdpa_plan.cu - which of cuDNN's engines runs a graph: the first proposal that makes a plan, one of
 * ordered sums where these are asked for.
 */
#include "kernels/sdpa_graph.cuh"

static int ask(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
               cudnnBackendAttributeType_t type, int64_t want, int64_t *got, void *v)
{
    return cudnnBackendGetAttribute(d, name, type, want, got, v) == CUDNN_STATUS_SUCCESS;
}

static int tell(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, const void *v)
{
    return cudnnBackendSetAttribute(d, name, type, 1, v) == CUDNN_STATUS_SUCCESS;
}

/* Whether the configuration's engine says that its sums have no fixed order. */
static int unordered(cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0, count = 0;
    int found = 0;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) !=
        CUDNN_STATUS_SUCCESS)
        return 0;
    if (ask(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) &&
        ask(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
            CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes))
        for (int64_t i = 0; i < count && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
            found |= notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    cudnnBackendDestroyDescriptor(engine);
    return found;
}

/* The device that a plan or a question is for. */
struct target {
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device;
};

static int aim(cudnnBackendDescriptor_t d, const target *t, cudnnBackendAttributeName_t handle,
               cudnnBackendAttributeName_t device)
{
    return t->handle ? tell(d, handle, CUDNN_TYPE_HANDLE, &t->handle)
                     : tell(d, device, CUDNN_TYPE_BACKEND_DESCRIPTOR, &t->device);
}

/* Tries one configuration; found when cuDNN makes a plan of it. */
static void try_config(dnn_plan *p, const target *t, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t plan = NULL;
    int64_t n = 0;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) !=
        CUDNN_STATUS_SUCCESS)
        return;
    p->owned.push_back(plan);
    if (!aim(plan, t, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP) ||
        !tell(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              &config) ||
        cudnnBackendFinalize(plan) != CUDNN_STATUS_SUCCESS ||
        !ask(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
             &p->workspace)) {
        cudnnGetLastErrorString(p->why, sizeof p->why);
        return;
    }
    p->plan = plan;
    p->found = 1;
    p->nondeterministic = unordered(config);
}

static cudnnBackendDescriptor_t owned(dnn_plan *p, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t d = NULL;
    if (cudnnBackendCreateDescriptor(type, &d) != CUDNN_STATUS_SUCCESS)
        return NULL;
    p->owned.push_back(d);
    return d;
}

struct knob {
    cudnnBackendKnobType_t type;
    int64_t value;
};

/* A finished configuration of the graph's engine `number`, NULL: there is none. */
static cudnnBackendDescriptor_t config_named(dnn_plan *p, const target *t, int64_t number,
                                             const knob *k, int n)
{
    cudnnBackendDescriptor_t choice[8], engine = owned(p, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t config = owned(p, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!engine || !config ||
        !tell(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              &p->graph) ||
        !tell(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, &number) ||
        (!t->handle &&
         !tell(engine, CUDNN_ATTR_ENGINE_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, &t->device)) ||
        cudnnBackendFinalize(engine) != CUDNN_STATUS_SUCCESS ||
        !tell(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, &engine))
        return NULL;
    for (int i = 0; i < n; i++) {
        choice[i] = owned(p, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        if (!choice[i] ||
            !tell(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, &k[i].type) ||
            !tell(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, &k[i].value) ||
            cudnnBackendFinalize(choice[i]) != CUDNN_STATUS_SUCCESS)
            return NULL;
    }
    if (cudnnBackendSetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, n,
                                 choice) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendFinalize(config) != CUDNN_STATUS_SUCCESS)
        return NULL;
    return config;
}

/* The engine for deterministic gradients on compute capability 10.x, which cuDNN has from 9.18 and
 * does not propose: its own front end, too, names it by number and knobs. */
static void try_named(dnn_plan *p, const target *t)
{
    static const knob first[] = { { CUDNN_KNOB_TYPE_KERNEL_CFG, 31 },
                                  { CUDNN_KNOB_TYPE_STAGES, 2 } };
    static const knob since_9_23[] = {
        { CUDNN_KNOB_TYPE_TILE_M, 3 },     { CUDNN_KNOB_TYPE_TILE_N, 2 },
        { CUDNN_KNOB_TYPE_KERNEL_CFG, 2 }, { CUDNN_KNOB_TYPE_STREAM_K, 0 },
        { CUDNN_KNOB_TYPE_TILE_CGA_M, 0 }, { CUDNN_KNOB_TYPE_STAGES, 2 },
    };
    cudnnBackendDescriptor_t config = cudnnGetVersion() < 92300
                                          ? config_named(p, t, 5, first, 2)
                                          : config_named(p, t, 5, since_9_23, 6);
    if (config)
        try_config(p, t, config);
}

/* The configurations cuDNN proposes in one mode, best first. */
static std::vector<cudnnBackendDescriptor_t> proposals(dnn_plan *p, const target *t,
                                                       cudnnBackendHeurMode_t mode)
{
    std::vector<cudnnBackendDescriptor_t> configs;
    cudnnBackendDescriptor_t heur = NULL;
    int64_t count = 0, got = 0;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heur) !=
        CUDNN_STATUS_SUCCESS)
        return configs;
    p->owned.push_back(heur);
    if (!tell(heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              &p->graph) ||
        !tell(heur, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &mode) ||
        (!t->handle && !tell(heur, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                             &t->device)) ||
        cudnnBackendFinalize(heur) != CUDNN_STATUS_SUCCESS ||
        !ask(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, NULL)) {
        cudnnGetLastErrorString(p->why, sizeof p->why);
        return configs;
    }
    for (int64_t i = 0; i < count; i++) {
        cudnnBackendDescriptor_t c = NULL;
        if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &c) !=
            CUDNN_STATUS_SUCCESS)
            break;
        p->owned.push_back(c);
        configs.push_back(c);
    }
    if (!ask(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             (int64_t)configs.size(), &got, configs.data()))
        got = 0;
    configs.resize((size_t)(got < count ? got : count));
    return configs;
}

void dnn_plan_make(dnn_plan *p, cudnnHandle_t handle, cudnnBackendDescriptor_t device)
{
    const cudnnBackendHeurMode_t modes[2] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
    const target t = { handle, device };
    cudnnStatus_t s = CUDNN_STATUS_SUCCESS;
    if (handle)
        s = cudnnBackendSetAttribute(p->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE,
                                     1, &handle);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendFinalize(p->graph);
    if (s != CUDNN_STATUS_SUCCESS) {
        cudnnGetLastErrorString(p->why, sizeof p->why);
        return;
    }
    if (p->named)
        try_named(p, &t);
    for (int m = 0; m < 2 && !p->found; m++) {
        std::vector<cudnnBackendDescriptor_t> configs = proposals(p, &t, modes[m]);
        for (int any = !p->ordered; any < 2 && !p->found; any++)
            for (size_t i = 0; i < configs.size() && !p->found; i++)
                if (any || !unordered(configs[i]))
                    try_config(p, &t, configs[i]);
    }
}

void dnn_plan_free(dnn_plan *p)
{
    while (!p->owned.empty()) {
        cudnnBackendDestroyDescriptor(p->owned.back());
        p->owned.pop_back();
    }
}

void sdpa_graph_plan(sdpa_plan *p, cudnnHandle_t handle, cudnnBackendDescriptor_t device)
{
    p->ordered = p->shape.deterministic;
    p->named = p->ordered && p->sm / 10 == 10;
    dnn_plan_make(p, handle, device);
}

void sdpa_graph_free(sdpa_plan *p)
{
    dnn_plan_free(p);
}
