/* SPDX-License-Identifier: Apache-2.0
 *
 * guard_dnnl.cc - see guard_dnnl.h.
 */
#include "kernels/guard_dnnl.h"

#include <atomic>
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

int caught(int (*f)(void *arg), void *arg)
{
    try {
        return f(arg);
    } catch (const std::bad_alloc &) {
        return wan_err("oneDNN: out of memory");
    } catch (const std::exception &e) {
        return wan_err("oneDNN: %s", e.what());
    }
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
