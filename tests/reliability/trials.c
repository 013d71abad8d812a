/* SPDX-License-Identifier: Apache-2.0
 *
 * trials.c - one command again and again, each time with another call that fails:
 *
 *     trials AT SHIM ROOT TOP -- COMMAND... <LIST
 *
 * COMMAND is started once, and its main runs in a child for each trial (serve.h), as it would by itself.
 *
 * In ROOT, for each line "KIND NAME K HOW" of LIST: now/ becomes a copy of before/, COMMAND runs in it as at.c
 * (or, HOW "-", fault.c) makes it fail, and what it ended with, printed and left is compared with all trials
 * before.  LONGEST=SECONDS in the environment: no trial begins after that time.  trials/N/now, out and err are those of result N; trials/results has "N STATUS KIND HOW" of each
 * result, trials/points "KIND NAME K HOW N" of each line.  An interrupted call is judged by its kind, too.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/reliability/serve.h"
#include "tests/reliability/tree.h"

typedef struct result {
    int64_t status;
    uint64_t now, out, err;
    char kind[32]; /* of an interrupted call */
} result;

static result *results;
static size_t n_results;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* Starts the command once, with all its libraries; its main waits at the socket (serve.h). */
static int serve(char **argv, char **command)
{
    int s[2];
    char fd[16];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) < 0)
        die("socketpair");
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (p == 0) {
        int in = open("/dev/null", O_RDONLY);
        close(s[0]);
        if (in < 0 || dup2(in, 0) < 0)
            _exit(126);
        close(in);
        snprintf(fd, sizeof fd, "%d", s[1]);
        setenv("FAULT_SERVE", fd, 1);
        setenv("LD_PRELOAD", argv[2], 1);
        execvp(command[0], command);
        _exit(127);
    }
    close(s[1]);
    return s[0];
}

/* The status, by at.c, of a main whose call to the kernel fails. */
static int refused(char **argv, char **point, int server)
{
    int status;
    char fd[16];
    char *word[] = { argv[1], "-s",     fd,       "-r",     argv[3],  "-t", argv[4],
                     "fail",  point[0], point[1], point[2], point[3], NULL };
    snprintf(fd, sizeof fd, "%d", server);
    pid_t p = vfork();
    if (p == 0) {
        execv(word[0], word);
        _exit(127);
    }
    if (p < 0 || waitpid(p, &status, 0) < 0)
        die("at");
    return status;
}

/* The status of the command while that call fails. */
static int fail(char **argv, char **point, int server)
{
    int status;
    if (strcmp(point[3], "-") != 0) {
        status = refused(argv, point, server);
    } else {
        serve_call c = { .at = atol(point[2]) };
        snprintf(c.kind, sizeof c.kind, "%s", point[0]);
        snprintf(c.by, sizeof c.by, "%s", point[1]);
        if (send(server, &c, sizeof c, MSG_NOSIGNAL) < 0 ||
            recv(server, &status, sizeof status, 0) != (ssize_t)sizeof status)
            die("the command that serves");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void move(const char *name, size_t to)
{
    char path[256];
    snprintf(path, sizeof path, "trials/%zu/%s", to, name);
    if (rename(name, path) < 0)
        die(path);
}

/* The number of the result of this trial, which is kept when it is a new one. */
static size_t number_of(const result *r, char **point, FILE *list)
{
    size_t n = 0;
    char dir[64];
    while (n < n_results && memcmp(&results[n], r, sizeof *r))
        n++;
    if (n < n_results)
        return n;
    if (!(results = reallocarray(results, n_results + 1, sizeof *results)))
        die("memory");
    results[n_results++] = *r;
    snprintf(dir, sizeof dir, "trials/%zu", n);
    if (mkdir(dir, 0777) < 0)
        die(dir);
    move("now", n);
    move("out", n);
    move("err", n);
    fprintf(list, "%zu %d %s %s\n", n, (int)r->status, point[0], point[3]);
    return n;
}

int main(int argc, char **argv)
{
    char line[4096];
    if (argc < 7 || strcmp(argv[5], "--") || mkdir("trials", 0777) < 0)
        die("trials AT SHIM ROOT TOP -- COMMAND...");
    FILE *points = fopen("trials/points", "w"), *list = fopen("trials/results", "w");
    int server = serve(argv, argv + 6);
    const char *longest = getenv("LONGEST");
    const time_t end = longest && *longest ? time(NULL) + atol(longest) : 0;
    while (points && list && fgets(line, sizeof line, stdin) && (!end || time(NULL) < end)) {
        char *point[4], *rest = line;
        for (int i = 0; i < 4; i++)
            if (!(point[i] = strtok_r(i ? NULL : line, " \n", &rest)))
                die("a line without four words");
        if ((access("now", F_OK) == 0 && tree_remove("now") < 0) || tree_copy("before", "now") < 0)
            die("now");
        result r = { 0 };
        r.status = fail(argv, point, server);
        r.now = tree_digest("now", 0);
        r.out = tree_digest("out", 0);
        r.err = tree_digest("err", 0);
        if (!strcmp(point[3], "EINTR"))
            snprintf(r.kind, sizeof r.kind, "%s", point[0]);
        size_t n = number_of(&r, point, list);
        fprintf(points, "%s %s %s %s %zu\n", point[0], point[1], point[2], point[3], n);
    }
    free(results);
    return !points || !list || fclose(points) || fclose(list);
}
