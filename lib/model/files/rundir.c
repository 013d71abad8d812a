/* SPDX-License-Identifier: Apache-2.0
 *
 * rundir.c - see rundir.h.
 */
#include "lib/model/files/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"

/* ---- names ---- */

enum form { STEP, TMP, OLD, GONE, FORMS };
static const char *const before[FORMS] = { "", ".", ".", "." };
static const char *const after[FORMS] = { "", ".tmp", ".old", ".gone" };

static char *name_of(const char *run, int64_t step, enum form form)
{
    char name[64];
    snprintf(name, sizeof name, "%siter_%07" PRId64 "%s", before[form], step, after[form]);
    return wan_path_join(run, name);
}

char *wan_rundir_name(const char *run, int64_t step)
{
    return name_of(run, step, STEP);
}

/* A whole number of at most 15 digits at the start of text: its length, or 0. */
static size_t number(int64_t *step, const char *text)
{
    size_t n = strspn(text, "0123456789");
    *step = n && n <= 15 ? strtoll(text, NULL, 10) : 0;
    return n <= 15 ? n : 0;
}

/* The step that an entry of the folder is of, as one of the forms; -1: none of ours. */
static int64_t parse(const char *entry, enum form *form)
{
    char again[64];
    int64_t step;
    const char *at = entry + (*entry == '.');
    if (strncmp(at, "iter_", 5) || !number(&step, at + 5))
        return -1;
    for (*form = 0; *form < FORMS; (*form)++) {
        snprintf(again, sizeof again, "%siter_%07" PRId64 "%s", before[*form], step, after[*form]);
        if (!strcmp(again, entry))
            return step;
    }
    return -1;
}

/* ---- what is there ---- */

typedef struct entry {
    int64_t step;
    enum form form;
} entry;

static int by_step(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return (int)x->form - (int)y->form;
}

static int add(entry **list, size_t *n, size_t *room, entry e)
{
    entry *more = wan_mem_grow(*list, *n, room, sizeof *more, "steps of a run");
    if (!more)
        return -1;
    more[(*n)++] = e;
    *list = more;
    return 0;
}

/* Every entry of ours, by step, then form. */
static int scan(entry **list, size_t *n, const char *run)
{
    DIR *d = opendir(run);
    const char *name;
    size_t room = 0;
    int rc = 1;
    *list = NULL;
    *n = 0;
    if (!d)
        return errno == ENOENT ? 0 : wan_err_errno("%s", run);
    while (rc > 0 && (rc = wan_dir_next(d, run, &name)) > 0) {
        entry e;
        e.step = parse(name, &e.form);
        if (e.step >= 0 && add(list, n, &room, e) < 0)
            rc = -1;
    }
    closedir(d);
    if (rc < 0) {
        free(*list);
        *list = NULL;
        *n = 0;
    } else if (*n) {
        qsort(*list, *n, sizeof **list, by_step);
    }
    return rc;
}

int wan_rundir_list(int64_t **steps, size_t *n, const char *run)
{
    entry *list;
    size_t all;
    *steps = NULL;
    *n = 0;
    WAN_TRY(scan(&list, &all, run));
    *steps = wan_malloc(all + 1, sizeof **steps, "steps of a run");
    for (size_t i = 0; *steps && i < all; i++)
        if ((list[i].form == STEP || list[i].form == OLD) &&
            (*n == 0 || (*steps)[*n - 1] != list[i].step))
            (*steps)[(*n)++] = list[i].step;
    free(list);
    return *steps ? 0 : -1;
}

/* 1 with the step that the pointer file names, 0 without such a file. */
static int read_pointer(int64_t *step, const char *run)
{
    char *path = wan_path_join(run, WAN_RUNDIR_POINTER), *text = NULL;
    int rc = path ? 0 : -1;
    if (rc == 0 && access(path, F_OK) == 0) {
        rc = wan_slurp(&text, NULL, path, 64);
        if (rc == 0) {
            text[strcspn(text, "\r\n \t")] = 0;
            size_t digits = number(step, text);
            rc = digits && !text[digits] ? 1 : wan_err("%s: \"%s\" is not a step", path, text);
        }
    } else if (rc == 0 && errno != ENOENT && errno != ENOTDIR) {
        rc = wan_err_errno("%s", path);
    }
    free(text);
    free(path);
    return rc;
}

int wan_rundir_newest(int64_t *step, const char *run)
{
    int64_t *steps;
    size_t n;
    int found = read_pointer(step, run);
    WAN_TRY(found);
    WAN_TRY(wan_rundir_list(&steps, &n, run));
    if (found && n && steps[n - 1] > *step) /* set back, or damaged */
        wan_warn("%s: " WAN_RUNDIR_POINTER " says step %" PRId64 ", the newest there is %" PRId64,
                 run, *step, steps[n - 1]);
    else if (!found && n) { /* killed between its first step and the pointer */
        *step = steps[n - 1];
        wan_warn("%s: no " WAN_RUNDIR_POINTER ": taking the newest step, %" PRId64, run, *step);
    }
    free(steps);
    return found || n > 0;
}

int wan_rundir_is(const char *run)
{
    int64_t *steps, step;
    size_t n;
    int pointer = read_pointer(&step, run);
    if (pointer)
        return pointer;
    WAN_TRY(wan_rundir_list(&steps, &n, run));
    free(steps);
    return n > 0;
}

int wan_rundir_find(char **path, const char *run, int64_t step)
{
    *path = NULL;
    int named = step < 0;
    if (named) {
        int found = wan_rundir_newest(&step, run);
        if (found <= 0)
            return found;
    }
    char *old = name_of(run, step, OLD);
    *path = name_of(run, step, STEP);
    int rc = old && *path ? wan_is_dir(*path) : -1, aside = rc == 0 ? wan_is_dir(old) : 0;
    if (rc == 0 && aside > 0) {
        free(*path);
        *path = old;
        return 1;
    }
    if (rc == 0 && aside == 0)
        wan_err("%s: no such checkpoint%s", *path,
                named ? ", though " WAN_RUNDIR_POINTER " names it" : "");
    free(old);
    if (rc > 0)
        return 1;
    free(*path);
    *path = NULL;
    return -1;
}

/* ---- changing it ---- */

static int remove_form(const char *run, int64_t step, enum form form)
{
    char *path = name_of(run, step, form);
    if (!path)
        return -1;
    wan_remove_tree(path);
    free(path);
    return 0;
}

static int move(const char *run, int64_t step, enum form from, enum form to)
{
    char *a = name_of(run, step, from), *b = name_of(run, step, to);
    int rc = a && b ? 0 : -1;
    if (rc == 0 && rename(a, b) < 0)
        rc = wan_err_errno("%s: cannot rename to %s", a, b);
    free(a);
    free(b);
    return rc;
}

/* Under a name that is no step's while it is removed, on disk too: half of it must not be taken for
 * one. */
static int discard(const char *run, int64_t step, enum form form)
{
    char *path = name_of(run, step, form), *gone = name_of(run, step, GONE);
    int rc = path && gone ? 0 : -1; /* first: what is aside could not be named without memory */
    if (rc == 0) {
        wan_remove_tree(gone);
        rc = rename(path, gone) < 0 ? wan_err_errno("%s: cannot rename to %s", path, gone) : 0;
    }
    if (rc == 0 && (rc = wan_fsync_dir(run)) < 0)
        rename(gone, path); /* whole, and its own name again */
    else if (rc == 0)
        wan_remove_tree(gone);
    free(gone);
    free(path);
    return rc;
}

int wan_rundir_sweep(const char *run)
{
    entry *list;
    size_t n;
    int64_t whole = -1;
    int rc = scan(&list, &n, run);
    for (size_t i = 0; i < n && rc == 0; i++) {
        int64_t step = list[i].step;
        if (list[i].form == STEP) {
            whole = step;
        } else if (list[i].form != OLD) {
            rc = remove_form(run, step, list[i].form);
        } else if (step == whole) {
            rc = discard(run, step, OLD);
        } else if ((rc = move(run, step, OLD, STEP)) == 0) {
            wan_warn("%s: step %" PRId64 ", which a killed run had moved aside, is back", run,
                     step);
        }
    }
    free(list);
    return rc;
}

char *wan_rundir_unfinished(const char *run, int64_t step)
{
    return name_of(run, step, TMP);
}

int wan_rundir_next(char **tmp, const char *run, int64_t step)
{
    *tmp = NULL;
    if (step < 0 || step > WAN_RUNDIR_MAX_STEP)
        return wan_err("step %" PRId64 " is beyond what a run folder can name", step);
    WAN_TRY(wan_mkdirs(run));
    WAN_TRY(wan_rundir_sweep(run));
    *tmp = name_of(run, step, TMP);
    int there = *tmp ? wan_is_dir(*tmp) : -1;
    if (there > 0)
        wan_err("%s: cannot be removed", *tmp);
    if (there == 0 && wan_mkdirs(*tmp) == 0)
        return 0;
    free(*tmp);
    *tmp = NULL;
    return -1;
}

int wan_rundir_replace(const char *run, int64_t step)
{
    char *tmp = name_of(run, step, TMP), *path = name_of(run, step, STEP);
    char *old = name_of(run, step, OLD);
    int rc = tmp && path && old ? wan_replace_dir(tmp, path, old) : -1;
    free(tmp);
    free(path);
    free(old);
    return rc;
}

int wan_rundir_point(const char *run, int64_t step)
{
    char text[32], *path = wan_path_join(run, WAN_RUNDIR_POINTER);
    int n = snprintf(text, sizeof text, "%" PRId64 "\n", step);
    int rc = path ? wan_spew(path, text, (size_t)n) : -1;
    free(path);
    return rc;
}

int wan_rundir_prune(const char *run, int64_t step, int64_t keep)
{
    entry *list;
    size_t n;
    if (keep <= 0)
        return 0;
    int rc = scan(&list, &n, run);
    for (size_t i = n; i-- > 0 && rc == 0;)
        if (list[i].form == STEP && list[i].step <= step && keep-- <= 0)
            rc = discard(run, list[i].step, STEP);
    free(list);
    return rc;
}

int wan_rundir_end(const char *run, int64_t step, int64_t keep)
{
    int64_t named;
    int pointer = read_pointer(&named, run);
    WAN_TRY(pointer);
    if (!pointer)
        WAN_TRY(wan_rundir_point(run, step));
    return wan_rundir_prune(run, step, keep);
}

/* ---- beforehand ---- */

int wan_rundir_hold(int *hold, const char *run)
{
    *hold = -1;
    WAN_TRY(wan_mkdirs(run));
    int fd = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno("%s", run);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *hold = fd;
        return 0;
    }
    int taken = errno == EWOULDBLOCK;
    close(fd);
    return taken ? wan_err("%s: another process trains or imports into this run", run) : 0;
}

static int enough(const char *run, int64_t bytes)
{
    struct statvfs f;
    if (statvfs(run, &f) < 0)
        return wan_err_errno("%s", run);
    double room = (double)f.f_bavail * (double)f.f_frsize;
    if (f.f_blocks == 0 || room >= (double)bytes) /* 0: a file system that does not say */
        return 0;
    return wan_err("%s: a checkpoint takes %.1f MiB, and there is room for %.1f MiB", run,
                   (double)bytes / (1 << 20), room / (1 << 20));
}

static int try_file(const char *run)
{
    char *path = wan_path_join(run, ".probe");
    int rc = path ? wan_out_probe(path) : -1;
    free(path);
    return rc;
}

/* Length of the longest folder on the way to run that is there already. */
static size_t already(const char *run)
{
    size_t n = strlen(run);
    char *path = strdup(run);
    while (path && n) {
        path[n] = 0;
        if (wan_is_dir(path) > 0)
            break;
        while (n && path[n - 1] == '/')
            n--;
        while (n && path[n - 1] != '/')
            n--;
    }
    free(path);
    return n;
}

int wan_rundir_held(int hold, const char *run)
{
    struct stat ours, there;
    if (hold < 0)
        return 0;
    if (fstat(hold, &ours) < 0 || stat(run, &there) < 0)
        return wan_err_errno("%s: is not there any more", run);
    return ours.st_dev == there.st_dev && ours.st_ino == there.st_ino
               ? 0
               : wan_err("%s: is another folder than when the run began", run);
}

int wan_rundir_probe(const char *run, int64_t bytes)
{
    size_t there = already(run), n = strlen(run);
    char *path = strdup(run);
    int rc = path ? wan_mkdirs(run) : wan_err("out of memory (path)");
    if (rc == 0)
        rc = try_file(run);
    if (rc == 0)
        rc = enough(run, bytes);
    for (; path && n > there; n--) /* what was made for this goes, the innermost first */
        if (n == strlen(run) || path[n] == '/') {
            path[n] = 0;
            rmdir(path);
        }
    free(path);
    return rc;
}
