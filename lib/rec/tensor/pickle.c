/* SPDX-License-Identifier: Apache-2.0
 *
 * pickle.c - the stack machine: opcodes, memo, bounds.  What REDUCE means is in pickle_torch.c.
 */
#include "lib/rec/tensor/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/rec/tensor/pickle_in.h"

enum { MAX_STACK = 1 << 20 };

/* Grows an array of pointers or sizes (both 8 bytes) so that index n fits. */
static int grow(void *array, size_t *cap, size_t n)
{
    if (n < *cap)
        return 0;
    size_t want = *cap ? *cap : 64;
    while (want <= n)
        want *= 2;
    void **at = array, *more = realloc(*at, want * sizeof(void *));
    if (!more)
        return wan_err("out of memory (pickle)");
    memset((char *)more + *cap * sizeof(void *), 0, (want - *cap) * sizeof(void *));
    *at = more;
    *cap = want;
    return 0;
}

static int push(wan_pickle *p, wan_pickle_value *v)
{
    if (!v)
        return -1;
    if (p->n >= MAX_STACK)
        return wan_err("stack deeper than %d", (int)MAX_STACK);
    WAN_TRY(grow(&p->stack, &p->cap, p->n));
    p->stack[p->n++] = v;
    return 0;
}

/* First stack index that belongs to the present mark. */
static size_t floor_of(const wan_pickle *p)
{
    return p->n_mark ? p->mark[p->n_mark - 1] : 0;
}

static wan_pickle_value *pop(wan_pickle *p)
{
    if (p->n <= floor_of(p)) {
        wan_err("stack is empty");
        return NULL;
    }
    return p->stack[--p->n];
}

static wan_pickle_value *top(wan_pickle *p)
{
    if (p->n <= floor_of(p)) {
        wan_err("stack is empty");
        return NULL;
    }
    return p->stack[p->n - 1];
}

static int mark(wan_pickle *p)
{
    if (p->n_mark >= MAX_STACK)
        return wan_err("more than %d marks", (int)MAX_STACK);
    WAN_TRY(grow(&p->mark, &p->cap_mark, p->n_mark));
    p->mark[p->n_mark++] = p->n;
    return 0;
}

/* Ends the present mark: the items above it are stack[*first .. n), still on the stack. */
static int unmark(wan_pickle *p, size_t *first)
{
    if (!p->n_mark)
        return wan_err("no mark");
    *first = p->mark[--p->n_mark];
    return 0;
}

/* little-endian bytes from the input */
static int take(wan_pickle *p, const uint8_t **at, uint64_t n)
{
    if (n > (uint64_t)(p->end - p->p))
        return wan_err("%" PRIu64 " bytes wanted, %td left", n, p->end - p->p);
    *at = p->p;
    p->p += n;
    return 0;
}

static int take_uint(wan_pickle *p, int bytes, uint64_t *out)
{
    const uint8_t *at = NULL;
    WAN_TRY(take(p, &at, (uint64_t)bytes));
    *out = 0;
    for (int i = bytes - 1; i >= 0; i--)
        *out = *out << 8 | at[i];
    return 0;
}

static int push_int(wan_pickle *p, int64_t i)
{
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_INT);
    if (v)
        v->i = i;
    return push(p, v);
}

/* LONG1, LONG4: two's complement of any length; larger than 64 bits is refused, except that a
 * longer one is kept as opaque (the legacy magic number has 80 bits). */
static int push_long(wan_pickle *p, uint64_t n)
{
    const uint8_t *at = NULL;
    WAN_TRY(take(p, &at, n));
    if (n > 8) {
        wan_pickle_value *v = wan_pickle_make(p, WAN_PK_OPAQUE);
        if (v) {
            v->str = (const char *)at;
            v->len = n;
        }
        return push(p, v);
    }
    uint64_t u = n && at[n - 1] & 0x80 ? ~(uint64_t)0 : 0;
    for (uint64_t i = n; i-- > 0;)
        u = u << 8 | at[i];
    return push_int(p, (int64_t)u);
}

static int push_real(wan_pickle *p)
{
    const uint8_t *at = NULL;
    WAN_TRY(take(p, &at, 8));
    uint64_t u = 0;
    for (int i = 0; i < 8; i++)
        u = u << 8 | at[i];
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_REAL);
    if (v)
        memcpy(&v->d, &u, 8);
    return push(p, v);
}

/* Bytes with a length field of `width` bytes in front. */
static int push_text(wan_pickle *p, enum wan_pickle_kind kind, int width)
{
    uint64_t n;
    const uint8_t *at = NULL;
    WAN_TRY(take_uint(p, width, &n));
    WAN_TRY(take(p, &at, n));
    wan_pickle_value *v = wan_pickle_make(p, kind);
    if (v) {
        v->str = (const char *)at;
        v->len = n;
    }
    return push(p, v);
}

static int push_bool(wan_pickle *p, int b)
{
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_BOOL);
    if (v)
        v->i = b;
    return push(p, v);
}

static int take_line(wan_pickle *p, const char **s, size_t *n)
{
    const uint8_t *lf = memchr(p->p, '\n', (size_t)(p->end - p->p));
    if (!lf || lf - p->p > 1024)
        return wan_err("a global without its end of line");
    *s = (const char *)p->p;
    *n = (size_t)(lf - p->p);
    p->p = lf + 1;
    return 0;
}

static int push_global(wan_pickle *p)
{
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_GLOBAL);
    if (!v)
        return -1;
    WAN_TRY(take_line(p, &v->str, &v->len));
    WAN_TRY(take_line(p, &v->name, &v->name_len));
    return push(p, v);
}

static int push_stack_global(wan_pickle *p)
{
    wan_pickle_value *name = pop(p), *module = name ? pop(p) : NULL;
    if (!module)
        return -1;
    if (name->kind != WAN_PK_STR || module->kind != WAN_PK_STR)
        return wan_err("a global whose name is no string");
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_GLOBAL);
    if (!v)
        return -1;
    v->str = module->str;
    v->len = module->len;
    v->name = name->str;
    v->name_len = name->len;
    return push(p, v);
}

/* Makes a container of the items stack[first..n) and replaces them by it. */
static int push_items(wan_pickle *p, enum wan_pickle_kind kind, size_t first)
{
    wan_pickle_value *v = wan_pickle_make(p, kind);
    if (!v)
        return -1;
    v->len = p->n - first;
    if (v->len) {
        v->item = wan_pickle_alloc(p, v->len * sizeof *v->item);
        if (!v->item)
            return -1;
        memcpy(v->item, p->stack + first, v->len * sizeof *v->item);
    }
    v->cap = v->len;
    p->n = first;
    return push(p, v);
}

static int push_tuple(wan_pickle *p, size_t n)
{
    if (p->n - floor_of(p) < n)
        return wan_err("stack is empty");
    return push_items(p, WAN_PK_TUPLE, p->n - n);
}

static int push_marked(wan_pickle *p, enum wan_pickle_kind kind)
{
    size_t first = 0;
    WAN_TRY(unmark(p, &first));
    if (kind == WAN_PK_DICT && (p->n - first) % 2)
        return wan_err("a key without a value");
    return push_items(p, kind, first);
}

/* Appends stack[first..n) to the container below them. */
static int extend(wan_pickle *p, size_t first, enum wan_pickle_kind kind)
{
    size_t n = p->n - first;
    p->n = first;
    wan_pickle_value *to = top(p);
    if (!to)
        return -1;
    if (to->kind == WAN_PK_OPAQUE)
        return 0;
    if (to->kind != kind)
        return wan_err("items are added to what is no %s", kind == WAN_PK_DICT ? "map" : "list");
    if (kind == WAN_PK_DICT && n % 2)
        return wan_err("a key without a value");
    if (to->len + n > to->cap) {
        size_t cap = 2 * (to->len + n);
        wan_pickle_value **more = wan_pickle_alloc(p, cap * sizeof *more);
        if (!more)
            return -1;
        if (to->len)
            memcpy(more, to->item, to->len * sizeof *more);
        to->item = more;
        to->cap = cap;
    }
    if (n)
        memcpy(to->item + to->len, p->stack + first, n * sizeof *to->item);
    to->len += n;
    return 0;
}

static int extend_marked(wan_pickle *p, enum wan_pickle_kind kind)
{
    size_t first = 0;
    WAN_TRY(unmark(p, &first));
    return extend(p, first, kind);
}

static int extend_last(wan_pickle *p, size_t n, enum wan_pickle_kind kind)
{
    if (p->n - floor_of(p) < n + 1)
        return wan_err("stack is empty");
    return extend(p, p->n - n, kind);
}

static int memo_put(wan_pickle *p, uint64_t i)
{
    wan_pickle_value *v = top(p);
    if (!v)
        return -1;
    if (i > (uint64_t)(p->end - p->begin))
        return wan_err("memo index %" PRIu64 " is larger than the pickle", i);
    WAN_TRY(grow(&p->memo, &p->cap_memo, i));
    p->memo[i] = v;
    if (i >= p->next_memo)
        p->next_memo = i + 1;
    return 0;
}

static int memo_get(wan_pickle *p, uint64_t i)
{
    if (i >= p->next_memo || !p->memo[i])
        return wan_err("memo index %" PRIu64 " was never stored", i);
    return push(p, p->memo[i]);
}

static int reduce(wan_pickle *p)
{
    wan_pickle_value *args = pop(p), *fn = args ? pop(p) : NULL;
    if (!fn)
        return -1;
    if (args->kind != WAN_PK_TUPLE)
        return wan_err("a call whose arguments are no tuple");
    return push(p, wan_pickle_reduce(p, fn, args));
}

static int persistent(wan_pickle *p)
{
    wan_pickle_value *id = pop(p);
    return id ? push(p, wan_pickle_storage(p, id)) : -1;
}

static int pop_mark(wan_pickle *p)
{
    size_t first = 0;
    WAN_TRY(unmark(p, &first));
    p->n = first;
    return 0;
}

static int op_pop(wan_pickle *p)
{
    if (p->n > floor_of(p)) {
        p->n--;
        return 0;
    }
    return pop_mark(p);
}

/* BUILD: an opaque value keeps its state, of the others it is dropped. */
static int build(wan_pickle *p)
{
    const wan_pickle_value *state = pop(p);
    wan_pickle_value *v = state ? top(p) : NULL;
    if (v && v->kind == WAN_PK_OPAQUE)
        v->state = state;
    return v ? 0 : -1;
}

/* Opcodes with a number behind them. */
static int step_number(wan_pickle *p, uint8_t op)
{
    static const struct {
        uint8_t op, width;
    } table[] = {
        { 'q', 1 }, { 'r', 4 },  { 'h', 1 },  { 'j', 4 },  { 'K', 1 },  { 'M', 2 },
        { 'J', 4 }, { 0x8a, 1 }, { 0x8b, 4 }, { 0x95, 8 }, { 0x80, 1 },
    };
    uint64_t u = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].op == op)
            WAN_TRY(take_uint(p, table[i].width, &u));
    switch (op) {
    case 'q':
    case 'r': return memo_put(p, u);
    case 'h':
    case 'j': return memo_get(p, u);
    case 'K':
    case 'M': return push_int(p, (int64_t)u);
    case 'J': return push_int(p, (int32_t)(uint32_t)u);
    case 0x8a:
    case 0x8b: return u > 1024 ? wan_err("an integer of %" PRIu64 " bytes", u) : push_long(p, u);
    case 0x80: return u > 5 ? wan_err("pickle protocol %" PRIu64, u) : 0;
    case 0x95: return 0; /* FRAME: only a hint */
    default: return wan_err("unknown opcode 0x%02x", op);
    }
}

static int step(wan_pickle *p, uint8_t op)
{
    switch (op) {
    case '(': return mark(p);
    case '0': return op_pop(p);
    case '1': return pop_mark(p);
    case '2': return push(p, top(p));
    case 'N': return push(p, wan_pickle_make(p, WAN_PK_NONE));
    case 'G': return push_real(p);
    case 'U': return push_text(p, WAN_PK_STR, 1); /* SHORT_BINSTRING */
    case 'T': return push_text(p, WAN_PK_STR, 4); /* BINSTRING */
    case 0x8c: return push_text(p, WAN_PK_STR, 1);
    case 'X': return push_text(p, WAN_PK_STR, 4);
    case 0x8d: return push_text(p, WAN_PK_STR, 8);
    case 'C': return push_text(p, WAN_PK_BYTES, 1);
    case 'B': return push_text(p, WAN_PK_BYTES, 4);
    case 0x8e:
    case 0x96: return push_text(p, WAN_PK_BYTES, 8);
    case 0x88: return push_bool(p, 1);
    case 0x89: return push_bool(p, 0);
    case ')': return push_items(p, WAN_PK_TUPLE, p->n);
    case ']':
    case 0x8f: return push_items(p, WAN_PK_LIST, p->n);
    case '}': return push_items(p, WAN_PK_DICT, p->n);
    case 't': return push_marked(p, WAN_PK_TUPLE);
    case 'l':
    case 0x91: return push_marked(p, WAN_PK_LIST);
    case 'd': return push_marked(p, WAN_PK_DICT);
    case 0x85: return push_tuple(p, 1);
    case 0x86: return push_tuple(p, 2);
    case 0x87: return push_tuple(p, 3);
    case 'a': return extend_last(p, 1, WAN_PK_LIST);
    case 's': return extend_last(p, 2, WAN_PK_DICT);
    case 'e':
    case 0x90: return extend_marked(p, WAN_PK_LIST);
    case 'u': return extend_marked(p, WAN_PK_DICT);
    case 'c': return push_global(p);
    case 0x93: return push_stack_global(p);
    case 0x94: return memo_put(p, p->next_memo);
    case 'R':
    case 0x81: return reduce(p);
    case 'Q': return persistent(p);
    case 'b': return build(p);
    default: return step_number(p, op);
    }
}

wan_pickle *wan_pickle_new(void)
{
    return wan_calloc(1, sizeof(wan_pickle), "pickle");
}

const wan_pickle_value *wan_pickle_run(wan_pickle *p, const void *data, size_t n, size_t *used)
{
    p->begin = p->p = data;
    p->end = p->begin + n;
    p->n = p->n_mark = p->next_memo = 0;
    if (p->cap_memo)
        memset(p->memo, 0, p->cap_memo * sizeof *p->memo);
    for (;;) {
        const uint8_t *at = p->p;
        if (p->p == p->end) {
            wan_err("offset %zu: the pickle has no end", n);
            return NULL;
        }
        if (*p->p++ == '.') {
            wan_pickle_value *v = top(p);
            if (v && p->n == 1 && !p->n_mark) {
                *used = (size_t)(p->p - p->begin);
                return v;
            }
            wan_err("offset %td: the pickle ends with %zu values", at - p->begin, p->n);
            return NULL;
        }
        if (step(p, *at) < 0) {
            wan_err_prefix("offset %td", at - p->begin);
            return NULL;
        }
    }
}

void wan_pickle_free(wan_pickle **pp)
{
    wan_pickle *p = *pp;
    if (!p)
        return;
    wan_pickle_release(p);
    free(p->stack);
    free(p->memo);
    free(p->mark);
    free(p);
    *pp = NULL;
}
