/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_count.c - a timeline on paper: what each row of the table of bounds (RESULTS.md) costs at least on
 * an H100, and which op has what share, counted by the device that computes nothing (device_dry.h).
 */
#include <stdio.h>
#include <string.h>

#include "kernels/device_dry.h"
#include "lib/model/acts.h"
#include "tests/gpu/bench_gpu.h"

/* Of RESULTS.md, "What to expect of an H100"; fp8 by the data sheet's ratio to bf16. */
static const wan_dry_rates h100 = { 800e12, 800e12, 800e12, 3.35e12, 1600e12 };
static const double WORTH = 0.005; /* least share that is listed */

void bench_count_begin(void)
{
    if (dev->kind != WAN_DEV_DRY)
        return;
    wan_dry *y = wan_device_dry_of(dev);
    y->now = y->moved = y->computing = 0;
    y->ops = y->kinds = 0;
    y->copies = (wan_dry_op){ .name = NULL };
}

/* Ops by their share, the largest first; then a fresh device for the next row. */
static void shares(wan_dry *y)
{
    double rest = y->computing - y->copies.seconds;
    if (y->copies.seconds >= WORTH * y->computing)
        printf("|   copies and clears, %lld | %.2f | | %.1f | %.1f %% |\n",
               (long long)y->copies.calls, 1e3 * y->copies.seconds, y->copies.bytes / 1e9,
               100 * y->copies.seconds / y->computing);
    else
        rest += y->copies.seconds;
    for (;;) {
        wan_dry_op *top = NULL;
        for (int i = 0; i < y->kinds; i++)
            if (y->op[i].name && (!top || y->op[i].seconds > top->seconds))
                top = &y->op[i];
        if (!top || top->seconds < WORTH * y->computing)
            break;
        printf("|   %s, %lld | %.2f | %.1f | %.1f | %.1f %% |\n", top->name + strlen("dry_"),
               (long long)top->calls, 1e3 * top->seconds, top->flops / 1e12, top->bytes / 1e9,
               100 * top->seconds / y->computing);
        rest -= top->seconds;
        top->name = NULL;
    }
    printf("|   the rest | %.2f | | | %.1f %% |\n", 1e3 * rest, 100 * rest / y->computing);
}

static void open_dry(void)
{
    must(wan_dev_open(&dev, "dry", 0));
    wan_device_dry_of(dev)->rates = h100;
}

/* bound: seconds (seconds > 0) or model TFLOP/s. */
static void row(const char *name, double flops, double times, double tflops, double seconds)
{
    wan_dry *y = wan_device_dry_of(dev);
    const double floor = times * y->computing;
    if (tflops > 0)
        printf(
            "| **%s** | %.1f | %.1f | %.0f | %.0f model TFLOP/s at the floor; bound %.0f: %s |\n",
            name, 1e3 * floor, flops / 1e12, y->moved / 1e9, flops / floor / 1e12, tflops,
            flops / floor / 1e12 >= tflops ? "within" : "OUT OF REACH");
    else
        printf("| **%s** | %.1f | | %.0f | bound %.2f s: %s |\n", name, 1e3 * floor, y->moved / 1e9,
               seconds, floor <= seconds ? "within" : "OUT OF REACH");
    shares(y);
    wan_dev_close(&dev);
}

static void step(const char *name, const char *size, int layers, enum wan_recompute how, int eight,
                 double bound)
{
    open_dry();
    dev->flags |= strstr(name, "two passes") ? WAN_DEV_OWN : 0;
    row(name, bench_count_step(size, layers, how, eight), 1, bound, 0);
}

static void sample(const char *name, const char *size, double times, int eight, double bound)
{
    open_dry();
    bench_count_sample(size, eight);
    row(name, 0, times, 0, bound);
}

/* most: GB of the device, with the weights. */
static void vae(const char *name, int encode, double bound, double most)
{
    open_dry();
    must(bench_vae(encode, 0) ? -1 : 0);
    const double peak = (double)dev->peak / 1e9;
    row(name, 0, 1, 0, bound);
    printf("|   memory | | | %.1f | bound %.1f GB: %s |\n", peak, most,
           peak <= most ? "within" : "OUT OF REACH");
}

int bench_count(void)
{
    printf(
        "Counted, not measured: products and attention at %.0f TFLOP/s, in fp8 %.0f, memory at %.2f "
        "TB/s, each operand of an op once;\nno launch, no host, no work space that an op writes and "
        "reads again.\n\n| | floor, ms | TFLOP | GB | |\n|---|---:|---:|---:|---|\n",
        h100.products / 1e12, h100.products8 / 1e12, h100.memory / 1e12);
    step("training, 14B, 4 layers, none", "14B", 4, WAN_RECOMPUTE_NONE, 0, 500);
    step("training, 14B, 4 layers, selective", "14B", 4, WAN_RECOMPUTE_SELECTIVE, 0, 500);
    step("training, 14B, 4 layers, none, two passes", "14B", 4, WAN_RECOMPUTE_NONE, 0, 470);
    step("training, 14B, 4 layers, selective, two passes", "14B", 4, WAN_RECOMPUTE_SELECTIVE, 0,
         470);
    step("training, 14B, 8 layers, full, two passes", "14B", 8, WAN_RECOMPUTE_FULL, 0, 430);
    step("training, 14B, 4 layers, none, fp8", "14B", 4, WAN_RECOMPUTE_NONE, 1, 600);
    step("training, 1.3B, selective", "1.3B", 30, WAN_RECOMPUTE_SELECTIVE, 0, 480);
    step("a pack of 32 pictures of 240x416, 1.3B, selective", "pictures", 30,
         WAN_RECOMPUTE_SELECTIVE, 0, 350);
    sample("sampling 1.3B, 50 steps of two passes", "1.3B", 50, 0, 60);
    sample("the same in fp8", "1.3B", 50, 1, 60);
    sample("sampling 14B, a step of two passes", "14B", 1, 0, 5);
    sample("the same in fp8", "14B", 1, 1, 5);
    vae("VAE decode, 81x480x832, bf16", 0, 0.8, 6);
    vae("VAE encode, 81x480x832, bf16", 1, 0.5, 6);
    return 0;
}
