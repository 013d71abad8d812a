/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - see signals.h.
 */
#include "lib/base/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/out.h"

static volatile sig_atomic_t stop_flag;

static void die_by_signal(int sig)
{
    wan_out_remove_all();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* One sentence, in the tool's name, and 1. */
static void say(const char *why)
{
    const char *name = program_invocation_short_name;
    wan_out_remove_all();
    if (write(STDERR_FILENO, name, strlen(name)) < 0 || write(STDERR_FILENO, why, strlen(why)) < 0)
        _exit(1);
    _exit(1);
}

/* libav, for one, calls abort where it gets no memory: that ends like any other error. */
static void say_abort(int sig)
{
    (void)sig;
    say(": a library gave up: out of memory, or a fault of its own\n");
}

/* Pages of a mapped file that are not there any more. */
static void say_bus(int sig)
{
    (void)sig;
    say(": a file that is being read has become shorter, or its disk has failed\n");
}

static void ask_stop(int sig)
{
    stop_flag = 1;
    if (sig == SIGINT)
        signal(SIGINT, SIG_DFL); /* whoever presses Ctrl-C again means it */
}

static void on_signal(int sig, void (*handler)(int))
{
    struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

/* Whoever started us ignoring it says that we are to go on: nohup, or a script's shell for what it runs behind itself. */
static void unless_ignored(int sig, void (*handler)(int))
{
    struct sigaction was;
    if (sigaction(sig, NULL, &was) < 0 || was.sa_handler != SIG_IGN)
        on_signal(sig, handler);
}

void wan_signals_filter(void)
{
    on_signal(SIGPIPE, die_by_signal); /* dies quietly, but leaves no temporary file */
    unless_ignored(SIGINT, die_by_signal);
    on_signal(SIGTERM, die_by_signal);
    unless_ignored(SIGHUP, die_by_signal);
    unless_ignored(SIGQUIT, die_by_signal);
    on_signal(SIGXCPU, die_by_signal);
    on_signal(SIGXFSZ, SIG_IGN); /* a write then says why it fails */
    on_signal(SIGABRT, say_abort);
    on_signal(SIGBUS, say_bus);
}

void wan_signals_trainer(void)
{
    on_signal(SIGPIPE, SIG_IGN);
    on_signal(SIGXFSZ, SIG_IGN);
    unless_ignored(SIGINT, ask_stop);
    on_signal(SIGTERM, ask_stop);
    on_signal(SIGUSR1, ask_stop);
    on_signal(SIGABRT, say_abort);
    on_signal(SIGBUS, say_bus);
}

int wan_signals_stop(void)
{
    return stop_flag;
}
