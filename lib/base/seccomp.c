/* SPDX-License-Identifier: Apache-2.0
 *
 * seccomp.c - the filter: a list of calls, some with conditions on their arguments, as a program of
 * the kernel's packet filter.
 */
#include "lib/base/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#define ARG(uc, i) ((uc)->uc_mcontext.gregs[((const int[]){ REG_RDI, REG_RSI, REG_RDX })[i]])
#define RESULT(uc) ((uc)->uc_mcontext.gregs[REG_RAX])
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#define ARG(uc, i) ((uc)->uc_mcontext.regs[i])
#define RESULT(uc) ((uc)->uc_mcontext.regs[0])
#endif

/* ---- words */

static const struct word {
    int number;
    int path; /* which argument is one; -1 none */
    const char *does;
} words[] = {
    { SYS_openat, 1, "open a file" },
    { SYS_openat2, 1, "open a file" },
    { SYS_newfstatat, 1, "look at another file" },
    { SYS_statx, 1, "look at another file" },
    { SYS_faccessat, 1, "look at another file" },
    { SYS_readlinkat, 1, "look at another file" },
#ifdef __x86_64__
    { SYS_open, 0, "open a file" },
    { SYS_creat, 0, "make a file" },
    { SYS_stat, 0, "look at another file" },
    { SYS_lstat, 0, "look at another file" },
    { SYS_access, 0, "look at another file" },
    { SYS_readlink, 0, "look at another file" },
    { SYS_unlink, -1, "remove a file" },
    { SYS_rename, -1, "rename a file" },
    { SYS_fork, -1, "start another process" },
    { SYS_vfork, -1, "start another process" },
    { SYS_pipe, -1, "make a pipe" },
#endif
    { SYS_unlinkat, -1, "remove a file" },
    { SYS_renameat2, -1, "rename a file" },
    { SYS_memfd_create, -1, "make a file in memory" },
    { SYS_socket, -1, "open a socket" },
    { SYS_socketpair, -1, "open a socket" },
    { SYS_connect, -1, "reach the network" },
    { SYS_bind, -1, "reach the network" },
    { SYS_sendto, -1, "reach the network" },
    { SYS_sendmsg, -1, "reach the network" },
    { SYS_clone, -1, "start another process" },
    { SYS_execve, -1, "run a program" },
    { SYS_execveat, -1, "run a program" },
    { SYS_kill, -1, "send a signal" },
    { SYS_tkill, -1, "send a signal" },
    { SYS_tgkill, -1, "send a signal" },
    { SYS_ptrace, -1, "look into another process" },
    { SYS_process_vm_readv, -1, "look into another process" },
    { SYS_process_vm_writev, -1, "look into another process" },
    { SYS_mmap, -1, "map shared or executable memory" },
    { SYS_mprotect, -1, "make memory executable" },
    { SYS_pipe2, -1, "make a pipe" },
};

static const struct word *word_of(int number)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].number == number)
            return &words[i];
    return NULL;
}

const char *wan_seccomp_call(int number)
{
    const struct word *w = word_of(number);
    return w ? w->does : "make a system call that decoding does not need";
}

#ifdef ARCH

/* ---- the program */

/* Calls of computing, and those that only tell. */
static const int allowed[] = {
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_preadv,
    SYS_write,
    SYS_writev,
    SYS_lseek,
    SYS_close,
    SYS_fstat,
    SYS_munmap,
    SYS_mremap,
    SYS_brk,
    SYS_futex,
    SYS_exit,
    SYS_exit_group,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_getcpu,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrandom,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_times,
    SYS_getrlimit,
    SYS_membarrier,
    SYS_sched_getscheduler,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
#ifdef __x86_64__
    SYS_time,
#endif
};

/* Calls that are answered with an error, as where they are not there. */
static const struct answer {
    int number, error;
} answers[] = {
    { SYS_clone3, ENOSYS }, /* its flags are out of the filter's sight: glibc takes clone then */
    { SYS_ioctl, ENOTTY },  /* is it a terminal? */
    { SYS_sched_setaffinity, EPERM },
    { SYS_get_mempolicy, ENOSYS },
    { SYS_set_mempolicy, ENOSYS },
    { SYS_fcntl, EBADF },
};

enum { RUN = 256 };

typedef struct program {
    struct sock_filter code[RUN];
    unsigned short n;
} program;

static void put(program *p, int code, uint32_t k, int yes, int no)
{
    p->code[p->n++] = (struct sock_filter){ (uint16_t)code, (uint8_t)yes, (uint8_t)no, k };
}

static void load(program *p, size_t at)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)at, 0, 0);
}

static void end(program *p, uint32_t verdict)
{
    put(p, BPF_RET | BPF_K, verdict, 0, 0);
}

/* The low half of argument i, which is all of an int. */
#define LOW(i) (offsetof(struct seccomp_data, args) + 8 * (i))

/* The number is loaded; call `number` is allowed when argument i, after `and`, compares so. */
static void allow_if(program *p, int number, int i, uint32_t and, int compare, uint32_t with)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 5);
    load(p, LOW((size_t)i));
    put(p, BPF_ALU | BPF_AND | BPF_K, and, 0, 0);
    put(p, BPF_JMP | compare | BPF_K, with, 0, 1);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_TRAP);
}

/* mmap: private, and not executable. */
static void allow_mmap(program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 6);
    load(p, LOW(2));
    put(p, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 3, 0);
    load(p, LOW(3));
    put(p, BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 1, 0);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_TRAP);
}

static void conditional(program *p)
{
    const uint32_t all = UINT32_MAX;
    allow_mmap(p);
    allow_if(p, SYS_mprotect, 2, PROT_EXEC, BPF_JEQ, 0);
    allow_if(p, SYS_clone, 0, CLONE_THREAD, BPF_JEQ, CLONE_THREAD);
    allow_if(p, SYS_vmsplice, 0, all, BPF_JEQ, 3);                /* to its parent */
    allow_if(p, SYS_tgkill, 0, all, BPF_JEQ, (uint32_t)getpid()); /* how abort does it */
    allow_if(p, SYS_prctl, 0, all, BPF_JEQ, PR_SET_NAME);
    allow_if(p, SYS_prlimit64, 2, all, BPF_JEQ, 0); /* only to ask */
    /* descriptors 0 to 2 by themselves; the values from 100 on harm the machine's memory */
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3);
    load(p, LOW(0));
    put(p, BPF_JMP | BPF_JGT | BPF_K, 2, 1, 0);
    end(p, SECCOMP_RET_ALLOW);
    load(p, offsetof(struct seccomp_data, nr));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 4);
    load(p, LOW(2));
    put(p, BPF_JMP | BPF_JGE | BPF_K, 100, 1, 0);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_TRAP);
}

static void assemble(program *p)
{
    p->n = 0;
    load(p, offsetof(struct seccomp_data, arch));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    end(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    put(p, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1); /* the calls of x32 */
    end(p, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        end(p, SECCOMP_RET_ALLOW);
    }
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)answers[i].number, 0, 1);
        end(p, SECCOMP_RET_ERRNO | (uint32_t)answers[i].error);
    }
    conditional(p);
    end(p, SECCOMP_RET_TRAP);
}

/* ---- what is tried all the same */

static volatile int *note;

/* Files that libraries look for by themselves, and do without. */
static int harmless(const char *path)
{
    static const char *const places[] = {
        "/proc/",         "/sys/devices/system/", "/usr/lib/locale/",
        "/etc/localtime", "/usr/share/locale/",   "/usr/share/zoneinfo/"
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strncmp(path, places[i], strlen(places[i])))
            return 1;
    return strstr(path, "/gconv/") != NULL;
}

static void trapped(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const struct word *w = word_of(info->si_syscall);
    (void)signal;
    if (w && w->path >= 0 && harmless((const char *)ARG(uc, w->path))) {
        RESULT(uc) = -ENOENT;
        return;
    }
    *note = info->si_syscall;
    _exit(WAN_SECCOMP_STATUS);
}

int wan_seccomp_seal(volatile int *tried)
{
    program p;
    struct sigaction act = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
    note = tried;
    assemble(&p);
    struct sock_fprog prog = { p.n, p.code };
    if (sigaction(SIGSYS, &act, NULL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return wan_err_errno("no filter of system calls");
    /* without this flag older kernels slow the whole process down */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) == 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0)
        return 0;
    return wan_err_errno("no filter of system calls");
}

#else

int wan_seccomp_seal(volatile int *tried)
{
    (void)tried;
    return wan_err("no filter of system calls for this kind of machine");
}

#endif
