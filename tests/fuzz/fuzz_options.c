/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_options.c - any words, one a line, as a command line; and each as a key=value of a configuration.
 * A usage error ends the program: here it only ends the parse.
 */
#include <setjmp.h>

#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/train/config/config.h"
#include "tests/fuzz/fuzz.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if __has_feature(address_sanitizer) || defined __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define UNTRACKED(on) ((on) ? __lsan_disable() : __lsan_enable())
#else
#define UNTRACKED(on) ((void)(on))
#endif

/* The linker puts it in place of exit (-Wl,--wrap=exit). */
void __wrap_exit(int status) __attribute__((noreturn));
void __real_exit(int status) __attribute__((noreturn));
static jmp_buf out;
static int inside, ended;

void __wrap_exit(int status)
{
    if (!inside)
        __real_exit(status);
    ended = status;
    longjmp(out, 1);
}

static struct {
    int64_t n, bytes;
    double x;
    const char *name, *kind;
    int flag, count;
    wan_strlist list;
} o;

static const wan_opt table[] = { WAN_OPT_GROUP("Group"),
                                 WAN_OPT_INT("number", 'n', "N", &o.n, -3, 1 << 20, "a number"),
                                 WAN_OPT_ALSO("count-of"),
                                 WAN_OPT_SIZE("bytes", 'b', "SIZE", &o.bytes, 0, 1e15, "a size"),
                                 WAN_OPT_REAL("real", 'r', "X", &o.x, -1e9, 1e9, "a real"),
                                 WAN_OPT_STR("name", 's', "TEXT", &o.name, "a text"),
                                 WAN_OPT_ENUM("kind", 'k', "one|two|three", &o.kind, "a word"),
                                 WAN_OPT_LIST("prompts", 'p', "TEXT", &o.list, "texts"),
                                 WAN_OPT_FLAG("flag", 'f', &o.flag, "a flag"),
                                 WAN_OPT_COUNT("more", 'm', &o.count, "a count"),
                                 { WAN_OPT_K_FLAG, "quiet", 'q', 0, &wan_opt_quiet, 0, 1, "less" },
                                 WAN_OPT_END };
static const wan_tool tool = { "wan-fuzz", "takes any words", "[options]", table };

static void command_line(char **word, int n)
{
    char *argv[66] = { "wan-fuzz" };
    memcpy(argv + 1, word, (size_t)n * sizeof *word);
    free(o.list.v);
    memset(&o, 0, sizeof o);
    UNTRACKED(1); /* what a usage error leaves behind */
    inside = 1;
    if (!setjmp(out)) {
        int first = wan_opt_parse(&tool, n + 1, argv);
        if (first < 1 || first > n + 1 || o.n < -3 || o.n > 1 << 20 || o.bytes < 0)
            abort();
    } else if (ended != WAN_EXIT_USAGE)
        fuzz_broken();
    inside = 0;
    UNTRACKED(0);
}

static void configuration(char **word, int n)
{
    wan_config *c;
    if (wan_config_new(&c) < 0) {
        fuzz_broken();
        return;
    }
    for (int i = 0; i < n; i++)
        (void)!wan_config_word(c, word[i]);
    (void)!wan_config_finish(c, NULL);
    wan_config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *word[64];
    int words = 0;
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = 0;
    for (char *p = text; p && words < 64;) {
        word[words++] = p;
        if ((p = strchr(p, '\n')))
            *p++ = 0;
    }
    int err = dup(2);
    if (!freopen("/dev/null", "w", stderr))
        abort();
    command_line(word, words);
    fflush(stderr);
    dup2(err, 2);
    close(err);
    configuration(word, words);
    free(o.list.v);
    memset(&o, 0, sizeof o);
    free(text);
    return 0;
}
