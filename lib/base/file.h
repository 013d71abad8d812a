/* SPDX-License-Identifier: Apache-2.0
 *
 * file.h - input files and folders; with out.h the only place that knows "-".
 */
#ifndef WAN_BASE_FILE_H
#define WAN_BASE_FILE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/out.h"

/* Input: "-" is stdin, name becomes "<stdin>".  Caller closes with wan_in_close (NULL-safe). */
int wan_in_open(FILE **out, const char *path, const char **name) WAN_MUST_CHECK;
void wan_in_close(FILE *f);

/* Takes those of the descriptors 0 to 2 that the caller has closed, so that no file that is opened gets such a number
 * and with it what is meant for standard error.  Reading and writing them fails as before. */
void wan_file_reserve(void);

/* Refuses binary data to a terminal (fd) unless force. */
int wan_refuse_terminal(int fd, int force) WAN_MUST_CHECK;

/* Whole small file into memory (NUL added).  -1 if larger than cap.  Caller frees *data. */
int wan_slurp(char **data, size_t *size, const char *path, size_t cap) WAN_MUST_CHECK;
/* The next entry of a folder that opendir gave, "." and ".." left out: 1, 0 at the end, -1 when it
 * cannot be read to its end.  name lives until the next call; path is for the message. */
int wan_dir_next(DIR *d, const char *path, const char **name) WAN_MUST_CHECK;
/* Whether something is there: 1, 0; what cannot be told counts as there, so that opening it says
 * why. */
int wan_exists(const char *path);
int wan_exists_in(const char *dir, const char *name); /* the same of dir/name: it needs no memory */
int wan_mkdirs(const char *path) WAN_MUST_CHECK;      /* mkdir -p, with what is new on disk */
int wan_fsync(int fd) WAN_MUST_CHECK; /* fsync, again where a signal came; errno, no sentence */
int wan_fsync_dir(const char *path) WAN_MUST_CHECK;
int wan_fsync_parent(const char *path) WAN_MUST_CHECK; /* the folder that holds path */
/* Renames a finished temporary directory into place and fsyncs its parent. */
int wan_rename_dir(const char *tmp, const char *final) WAN_MUST_CHECK;
/* The same where final may exist: what it was is removed afterwards.  The two names are exchanged, so
 * that final is there at every moment; a file system that cannot do this has it as `aside` between
 * two renames, where it stays when the second fails and the way back too. */
int wan_replace_dir(const char *tmp, const char *final, const char *aside) WAN_MUST_CHECK;
/* 1 when path is a folder, 0 when nothing is there or something else, -1 when that cannot be seen. */
int wan_is_dir(const char *path) WAN_MUST_CHECK;
/* rm -rf.  What fails is tried once more; what stays then is said in the log, and -1 returned: it is no
 * error of what is done, and hides none. */
int wan_remove_tree(const char *path);
int wan_remove_file(const char *path); /* the same for one file */
/* malloc'ed "dir/name" ("name" when dir is NULL or name is absolute). */
char *wan_path_join(const char *dir, const char *name);
/* malloc'ed: the name to which the links at path lead, which may be of nothing; path where it is no link, or one of
 * /proc, whose links are what is open and no names.  NULL: recorded. */
char *wan_path_follow(const char *path);

#endif
