/* SPDX-License-Identifier: Apache-2.0
 *
 * guard_dnnl.cc - see guard_dnnl.h.
 */
#include "kernels/guard_dnnl.h"

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <new>

namespace
{
enum : size_t { PIECES = 64, PIECE = (size_t)64 << 10, ROOM = (size_t)8 << 20 };

std::atomic<void *> reserve[PIECES];

/* Called by operator new, in any thread: it tries again when this returns. */
void give(void)
{
    for (std::atomic<void *> &r : reserve)
        if (void *p = r.exchange(NULL)) {
            std::free(p);
            return;
        }
    throw std::bad_alloc();
}

int fill(void)
{
    for (std::atomic<void *> &r : reserve)
        if (!r.load() && !(r = std::malloc(PIECE)))
            return wan_err("oneDNN: out of memory");
    return 0;
}

int thrown(int (*f)(void *arg), void *arg)
{
    try {
        return f(arg);
    } catch (const std::bad_alloc &) {
        return wan_err("oneDNN: out of memory");
    } catch (const std::exception &e) {
        return wan_err("oneDNN: %s", e.what());
    }
}

/* Where this thread goes on when oneDNN writes to memory that it was not given. */
thread_local sigjmp_buf *way_back;
struct sigaction otherwise;

void on_fault(int sig)
{
    if (way_back)
        siglongjmp(*way_back, 1);
    sigaction(sig, &otherwise, NULL); /* not ours: it comes again */
}

int watch_faults(void)
{
    /* what is thrown in its threads ends the process: the tool says it in its own words */
    std::set_terminate(std::abort);
#ifndef __SANITIZE_ADDRESS__ /* which reports them */
    struct sigaction a = {};
    a.sa_handler = on_fault;
    a.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &a, &otherwise);
#endif
    return 1;
}

int caught(int (*f)(void *arg), void *arg)
{
    static const int watched = watch_faults();
    sigjmp_buf here;
    (void)watched;
    if (sigsetjmp(here, 0)) {
        way_back = NULL;
        return wan_err("oneDNN: crashed, as it does where memory runs out");
    }
    way_back = &here;
    int rc = thrown(f, arg);
    way_back = NULL;
    return rc;
}
} // namespace

int wan_guard_dnnl(int (*f)(void *arg), void *arg)
{
    WAN_TRY(fill());
    std::new_handler before = std::set_new_handler(give);
    int rc = caught(f, arg);
    std::set_new_handler(before);
    return rc;
}

int wan_guard_room(void)
{
    void *volatile p = std::malloc(ROOM); /* volatile: not to be left out */
    if (!p)
        return wan_err("oneDNN: out of memory");
    std::free(p);
    return 0;
}
