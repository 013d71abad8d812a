/* SPDX-License-Identifier: Apache-2.0
 * oneDNN runs out of memory at every place where it asks C++ for some: an error that says so, or
 * the right result from the reserve; nothing half-made is taken for whole afterwards. */
#include <malloc.h>
#include <sys/resource.h>

#include "tests/kernels/compare.h"

/* C++'s operator new for the whole process.  Call number fail_at finds no memory; with `scarce` none
 * after it does either, but for what the handler gives back. */
static int64_t fail_at, calls, scarce, given;
typedef void handler(void);
handler *_ZSt15get_new_handlerv(void); /* std::get_new_handler() */
void *_Znwm(size_t n);
void _ZSt17__throw_bad_allocv(void) __attribute__((noreturn));

enum { PIECE = 64 << 10 };

static int short_of(size_t n)
{
    if (!fail_at || calls < fail_at)
        return 0;
    given -= (int64_t)n;
    return scarce ? given < 0 : calls == fail_at;
}

void *_Znwm(size_t n)
{
    calls++;
    while (short_of(n)) {
        handler *h = scarce ? _ZSt15get_new_handlerv() : NULL;
        if (!h)
            _ZSt17__throw_bad_allocv();
        h();
        given += (int64_t)n + PIECE;
    }
    void *p = malloc(n ? n : 1);
    if (!p)
        abort();
    return p;
}

extern int wan_guard_dnnl(int (*f)(void *arg), void *arg) __attribute__((weak));

typedef int op(int i, int64_t m);

static vec *x, *w, *b, *y;

static int product(int i, int64_t m)
{
    wan_buf none = WAN_BUF_NONE;
    return cmp_dev[i]->ops->linear_forward(cmp_dev[i], y->b[i], none, x->b[i], w->b[i], vec_p(b, i),
                                           m, 24, 40, WAN_ACT_NONE);
}

static int convolution(int i, int64_t m)
{
    const wan_conv c = { 8, 24, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, m, 5, 0, 0 };
    return cmp_dev[i]->ops->conv_forward(cmp_dev[i], &c, y->b[i], x->b[i], w->b[i], vec_p(b, i), 0);
}

/* Fails at the k-th place, for every k.  A new shape each time, so that all is made anew. */
static void starve(const char *name, op *f, wan_dtype t, int from_reserve)
{
    static int64_t m = 40;
    int64_t said = 0, well = 0, k = 1;
    x = vec_new(t, 100000, 0, 1), w = vec_new(t, 24 * 72, 0, 0.1);
    b = vec_new(WAN_REAL, 24, 0, 1), y = vec_new(t, 300000, 7, 1);
    scarce = from_reserve;
    for (;; k++, m++) {
        wan_conv_forget(w->b[1].p);
        wan_err_clear();
        calls = given = 0;
        fail_at = k;
        int rc = f(1, m);
        int64_t reached = calls;
        fail_at = 0;
        said += rc < 0 && strstr(wan_err_text(), "oneDNN: out of memory");
        well += rc == 0;
        cmp_must(f(0, m));
        cmp_must(f(1, m)); /* the same shape again: nothing broken was kept */
        if (reached < k)
            break;
    }
    ok(k > 20 && (from_reserve ? well - 1 : said) == k - 1,
       "%s %s%s: %lld places, %lld said, %lld well", name, CMP_NAME(t),
       from_reserve ? ", with the reserve" : "", (long long)k - 1, (long long)said,
       (long long)well - 1);
    vec_ok(y, t == WAN_BF16 ? 6e-3 : 1e-5, "  and right afterwards");
    wan_conv_forget(w->b[1].p);
    cmp_reset();
}

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1)
        abort();
    fclose(f);
    return pages * 4096;
}

/* An address space that is full: said before anything is begun. */
static void full(void)
{
    struct rlimit was, none;
    x = vec_new(WAN_REAL, 100000, 0, 1), w = vec_new(WAN_REAL, 24 * 72, 0, 0.1);
    b = vec_new(WAN_REAL, 24, 0, 1), y = vec_new(WAN_REAL, 100000, 7, 1);
    cmp_must(product(1, 7));
    cmp_must(getrlimit(RLIMIT_AS, &was));
    malloc_trim(0);
    none = was;
    none.rlim_cur = address_space() + (2 << 20);
    cmp_must(setrlimit(RLIMIT_AS, &none));
    int rc = product(1, 9), old = product(1, 7);
    cmp_must(setrlimit(RLIMIT_AS, &was));
    ok(rc < 0 && strstr(wan_err_text(), "oneDNN: out of memory"), "a new shape without room: %s",
       wan_err_text());
    ok(old == 0, "a shape that is there goes on");
    cmp_must(product(1, 9));
    cmp_must(product(0, 9));
    vec_ok(y, 1e-5, "  and right afterwards");
    cmp_reset();
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    tap_skip("oneDNN without memory", "AddressSanitizer has its own operator new");
    return tap_done();
#endif
    if (!wan_guard_dnnl) {
        tap_skip("oneDNN without memory", "a build without oneDNN");
        return tap_done();
    }
    if (!cmp_open("guard"))
        return tap_done();
    starve("product", product, WAN_REAL, 0);
    starve("product", product, WAN_BF16, 0);
    for (int t = 0; t < 2; t++) {
        starve("product", product, cmp_types[t], 1);
        starve("convolution", convolution, cmp_types[t], 1);
    }
    full();
    return cmp_done();
}
