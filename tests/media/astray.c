/* SPDX-License-Identifier: Apache-2.0
 *
 * astray.c - LD_PRELOAD: a decoder led astray.  From pictures 80 pixels wide on it does what the
 * environment's ASTRAY names, and says "GOT THROUGH" on standard error where that succeeded.
 * NOFILTER=1: a kernel without filters of system calls.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int opens(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static int writes(void)
{
    return open("astray.out", O_WRONLY | O_CREAT, 0600) >= 0;
}

static int removes(void)
{
    return unlink("victim") == 0;
}

static int calls_home(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s >= 0)
        (void)connect(s, (struct sockaddr *)&to, sizeof to);
    return s >= 0;
}

static int forks(void)
{
    pid_t p = fork();
    if (!p)
        _exit(0);
    if (p > 0)
        waitpid(p, NULL, 0);
    return p > 0;
}

static int runs(void)
{
    execl("/bin/echo", "echo", "GOT THROUGH", (char *)NULL);
    return 0;
}

static int kills(void)
{
    return kill(getppid(), 0) == 0;
}

static int traces(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}

static int shares(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}

static int makes_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static int makes_a_file_in_memory(void)
{
    return memfd_create("astray", 0) >= 0;
}

static int makes_a_pipe(void)
{
    int fd[2];
    return pipe(fd) == 0;
}

static int asks_for_a_ring(void) /* io_uring: calls that no filter sees */
{
    char params[120] = { 0 };
    return syscall(425, 4, params) >= 0;
}

static int reads_its_parent(void)
{
    char c;
    struct iovec here = { &c, 1 }, there = { (void *)reads_its_parent, 1 };
    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) == 1;
}

static void *open_there(void *arg)
{
    (void)arg;
    return opens() ? "x" : NULL;
}

static int opens_in_a_thread(void)
{
    pthread_t t;
    void *got = NULL;
    return pthread_create(&t, NULL, open_there, NULL) == 0 && pthread_join(t, &got) == 0 && got;
}

static int opens_quietly(void) /* with nobody left to tell of it */
{
    signal(SIGSYS, SIG_IGN);
    return opens();
}

static int prints(void)
{
    ssize_t n = write(1, "GOT THROUGH", 11);
    (void)n; /* whether it arrived is seen outside */
    return 0;
}

static int eats(void)
{
    size_t n = 0;
    for (char *p; n < 4096 && (p = malloc(16 << 20)); n += 16)
        memset(p, 1, 16 << 20);
    return n >= 4096 ? 1 : -1;
}

static int spins(void)
{
    volatile int i = 0;
    while (!i)
        i = 0;
    return i;
}

static int sleeps(void)
{
    while (usleep(100000) == 0 || errno == EINTR)
        ;
    return 1;
}

static int crashes(void)
{
    return raise(SIGSEGV);
}

static const struct {
    const char *name;
    int (*does)(void);
} deeds[] = { { "open", opens },
              { "write", writes },
              { "remove", removes },
              { "net", calls_home },
              { "fork", forks },
              { "exec", runs },
              { "kill", kills },
              { "trace", traces },
              { "share", shares },
              { "code", makes_code },
              { "memfd", makes_a_file_in_memory },
              { "pipe", makes_a_pipe },
              { "ring", asks_for_a_ring },
              { "peek", reads_its_parent },
              { "thread", opens_in_a_thread },
              { "quiet", opens_quietly },
              { "print", prints },
              { "memory", eats },
              { "cpu", spins },
              { "hang", sleeps },
              { "crash", crashes } };

static const char libavcodec[] = "libavcodec.so." AV_STRINGIFY(LIBAVCODEC_VERSION_MAJOR);

int avcodec_send_packet(AVCodecContext *c, const AVPacket *pkt)
{
    int (*real)(AVCodecContext *, const AVPacket *) =
        (int (*)(AVCodecContext *, const AVPacket *))dlsym(
            dlopen(libavcodec, RTLD_LAZY | RTLD_NOLOAD), "avcodec_send_packet");
    const char *what = getenv("ASTRAY");
    for (size_t i = 0; what && c->width == 80 && i < sizeof deeds / sizeof *deeds; i++)
        if (!strcmp(what, deeds[i].name)) {
            int got = deeds[i].does();
            if (got < 0)
                return AVERROR(ENOMEM);
            if (got)
                fputs("GOT THROUGH\n", stderr);
        }
    return real(c, pkt);
}

int prctl(int option, ...)
{
    va_list ap;
    long a[4];
    va_start(ap, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (option == PR_SET_SECCOMP && getenv("NOFILTER")) {
        errno = EINVAL;
        return -1;
    }
    int (*real)(int, ...) = (int (*)(int, ...))dlsym(RTLD_NEXT, "prctl");
    return real(option, a[0], a[1], a[2], a[3]);
}

/* Six, however many there are: what a caller did not give is what lies behind. */
__attribute__((no_sanitize_address)) long syscall(long number, ...)
{
    va_list ap;
    long a[6];
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_seccomp && getenv("NOFILTER")) {
        errno = EINVAL;
        return -1;
    }
    long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
