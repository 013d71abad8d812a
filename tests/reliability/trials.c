/* SPDX-License-Identifier: Apache-2.0
 *
 * trials.c - one command again and again, each time with another call that fails:
 *
 *     trials AT SHIM ROOT TOP -- COMMAND... <LIST
 *
 * In ROOT, for each line "KIND NAME K HOW" of LIST: now/ becomes a copy of before/, COMMAND runs in it as at.c
 * (or, HOW "-", fault.c) makes it fail, and what it ended with, printed and left is compared with all trials
 * before.  trials/N/now, out and err are those of result N; trials/results has "N STATUS KIND HOW" of each
 * result, trials/points "KIND NAME K HOW N" of each line.  An interrupted call is judged by its kind, too.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void redirect(int fd, const char *path, int flags)
{
    int to = open(path, flags, 0666);
    if (to < 0 || dup2(to, fd) < 0)
        _exit(126);
    close(to);
}

/* The status of the command while that call fails. */
static int fail(char **argv, char **point, char **command)
{
    int status;
    fflush(NULL);
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (!p) {
        char *word[512] = { argv[1], "-p",     argv[2],  "-r",     argv[3],  "-t", argv[4],
                            "fail",  point[0], point[1], point[2], point[3], "--" };
        size_t n = 13;
        redirect(0, "/dev/null", O_RDONLY);
        redirect(1, "out", O_WRONLY | O_CREAT | O_TRUNC);
        redirect(2, "err", O_WRONLY | O_CREAT | O_TRUNC);
        if (chdir("now") < 0)
            _exit(126);
        if (!strcmp(point[3], "-")) {
            setenv("FAULT", point[0], 1);
            setenv("FAULT_BY", point[1], 1);
            setenv("FAULT_AT", point[2], 1);
            setenv("LD_PRELOAD", argv[2], 1);
            execvp(command[0], command);
            _exit(127);
        }
        for (; *command && n + 1 < sizeof word / sizeof *word; command++)
            word[n++] = *command;
        if (!*command)
            execv(word[0], word);
        _exit(127);
    }
    if (waitpid(p, &status, 0) < 0)
        die("waitpid");
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
    while (points && list && fgets(line, sizeof line, stdin)) {
        char *point[4], *rest = line;
        for (int i = 0; i < 4; i++)
            if (!(point[i] = strtok_r(i ? NULL : line, " \n", &rest)))
                die("a line without four words");
        if ((access("now", F_OK) == 0 && tree_remove("now") < 0) || tree_copy("before", "now") < 0)
            die("now");
        result r = { 0 };
        r.status = fail(argv, point, argv + 6);
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
