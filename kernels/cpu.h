/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.h - how bf16 operands are multiplied on this CPU: products, attention, convolutions.
 *
 * The fastest way that the CPU has: tiles where there are any, AVX512-BF16 where it does more products
 * than fp32 multiply-adds, else operands widened while they are packed.  The products are the same, and
 * their sum is fp32, in every way; the order of the sum is not.  Which CPUs are which stands in a table,
 * one that is not in it is measured (about a millisecond).
 *
 * WAN_CPU_ISA=portable|bf16|amx in the environment names a way, as far as the CPU has it.
 */
#ifndef WAN_KERNELS_CPU_H
#define WAN_KERNELS_CPU_H

enum wan_cpu_isa {
    WAN_CPU_PORTABLE = 0, /* bf16 operands are widened: fp32 multiply-adds */
    WAN_CPU_BF16 = 1,     /* AVX512-BF16: two bf16 products per fp32 lane */
    WAN_CPU_AMX = 2,      /* AMX tiles with bf16, and the kernel lets us use them */
};

enum wan_cpu_isa wan_cpu_isa(void);
const char *wan_cpu_isa_name(void);
/* Takes the way with that name, as a run that goes on does to sum as before; the environment goes first.
 * -1, and nothing changed, where this CPU does not have it.  Before the first product. */
int wan_cpu_choose(const char *name);

/* The widest vectors of fp32 that this CPU has, for products of any build: one for an old CPU, too, uses what
 * there is.  WAN_CPU_VECTORS=plain|avx2|avx512 in the environment names some, as far as the CPU has them. */
enum wan_cpu_vectors {
    WAN_CPU_PLAIN = 0,
    WAN_CPU_AVX2 = 1, /* with multiply-add */
    WAN_CPU_AVX512 = 2,
};
enum wan_cpu_vectors wan_cpu_vectors(void);

#endif
