// SPDX-License-Identifier: Apache-2.0
//
// sdcpp.cc - passes of WAN by stable-diffusion.cpp, for tests/bench/sdcpp.sh, which builds it:
//
//     sdcpp FILE WIDTH HEIGHT FRAMES ROWS THREADS PASSES
//
// The transformer of FILE (GGUF or safetensors, 1.3B or 14B) on a latent of that picture and ROWS rows of text, without
// and with its flash attention; the seconds of each pass, the first of which also loads the weights.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include "model/diffusion/wan.hpp"

static double now()
{
    using clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

static void say(enum sd_log_level_t level, const char *text, void *)
{
    if (level >= SD_LOG_WARN)
        fputs(text, stderr);
}

static sd::Tensor<float> numbers(std::vector<int64_t> shape)
{
    auto t = sd::Tensor<float>::zeros(std::move(shape));
    float *v = t.data();
    uint32_t seed = 1;
    for (int64_t i = 0; i < t.numel(); i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)(seed >> 8) * 0x2p-24f - 1;
    }
    return t;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return fprintf(stderr, "usage: sdcpp FILE WIDTH HEIGHT FRAMES ROWS THREADS PASSES\n"), 2;
    const int W = atoi(argv[2]), H = atoi(argv[3]), F = atoi(argv[4]), threads = atoi(argv[6]);
    const char *const prefix = "model.diffusion_model";
    sd_set_log_callback(say, nullptr);
    ggml_backend_t cpu = sd_backend_cpu_init();
    auto manager = std::make_shared<ModelManager>();
    ModelLoader &loader = manager->loader();
    if (!loader.init_from_file_and_convert_name(argv[1], std::string(prefix) + "."))
        return 1;
    manager->set_n_threads(threads);
    WAN::WanRunner wan(cpu, loader.get_tensor_storage_map(), prefix, VERSION_WAN2, manager);
    if (!manager->register_runner_params("wan", wan, prefix,
                                         ModelManager::ResidencyMode::ParamBackend, cpu, cpu) ||
        !manager->validate_registered_tensors())
        return 1;
    const auto x = numbers({ W / 8, H / 8, 1 + (F - 1) / 4, 16 });
    const auto text = numbers({ 4096, atoi(argv[5]), 1 });
    const auto t = sd::Tensor<float>::full({ 1 }, 500);
    for (int flash = 0; flash < 2; flash++) {
        wan.set_flash_attention_enabled(flash);
        for (int i = 0; i < atoi(argv[7]); i++) {
            double start = now();
            auto out = wan.compute(threads, x, t, text);
            if (out.empty())
                return 1;
            double took = now() - start, sum = 0;
            for (int64_t k = 0; k < out.numel(); k++)
                sum += out.data()[k] * out.data()[k];
            printf("%s %.2f s (mean square %.6g)\n", flash ? "flash" : "plain", took,
                   sum / (double)out.numel());
        }
    }
    fflush(stdout);
    _exit(0); // its destructors do not outlive each other
}
