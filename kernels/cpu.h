/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.h - what this CPU can multiply fast, asked once at run time.
 *
 * WAN_CPU_ISA=portable|bf16|amx in the environment lowers the answer, so that tests can run the
 * slower paths on a faster machine.
 */
#ifndef WAN_KERNELS_CPU_H
#define WAN_KERNELS_CPU_H

enum wan_cpu_isa {
    WAN_CPU_PORTABLE = 0, /* what the compiler was told to use; bf16 operands are widened */
    WAN_CPU_BF16 = 1,     /* AVX512-BF16: two bf16 products per fp32 lane */
    WAN_CPU_AMX = 2,      /* AMX tiles with bf16, and the kernel lets us use them */
};

enum wan_cpu_isa wan_cpu_isa(void);
const char *wan_cpu_isa_name(void);

#endif
