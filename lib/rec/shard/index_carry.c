/* SPDX-License-Identifier: Apache-2.0
 *
 * index_carry.c - takes a file or folder that is not ours from one metadata folder into the next.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"

enum { MAX_DEPTH = 16 };

static int carry(const char *from, const char *to, int depth);

static int carry_folder(const char *from, const char *to, int depth)
{
    DIR *d = depth < MAX_DEPTH ? opendir(from) : NULL;
    const char *name;
    if (!d)
        return depth < MAX_DEPTH ? wan_err_errno("%s", from)
                                 : wan_err("%s: folders nested deeper than %d", from, MAX_DEPTH);
    int rc = mkdir(to, 0777) < 0 ? wan_err_errno("%s: cannot create directory", to) : 1;
    while (rc > 0 && (rc = wan_dir_next(d, from, &name)) > 0) {
        char *a = wan_path_join(from, name), *b = wan_path_join(to, name);
        if (!a || !b || carry(a, b, depth + 1) < 0)
            rc = -1;
        free(a);
        free(b);
    }
    closedir(d);
    return rc;
}

static int copy(const char *from, const char *to)
{
    static char buf[1 << 16];
    FILE *in;
    const char *name;
    size_t n;
    wan_out *out = NULL;
    WAN_TRY(wan_in_open(&in, from, &name));
    int rc = wan_out_open(&out, to);
    while (rc == 0 && (n = fread(buf, 1, sizeof buf, in)) > 0)
        rc = wan_out_put(out, buf, n);
    if (rc == 0 && ferror(in))
        rc = wan_err_errno("%s: cannot read", from);
    if (rc == 0)
        rc = wan_out_finish(&out);
    wan_out_discard(&out);
    wan_in_close(in);
    return rc;
}

static int carry(const char *from, const char *to, int depth)
{
    struct stat st;
    if (lstat(from, &st) < 0)
        return wan_err_errno("%s", from);
    if (S_ISDIR(st.st_mode))
        return carry_folder(from, to, depth);
    /* a second name costs nothing; not all file systems have that */
    return link(from, to) == 0   ? 0
           : S_ISREG(st.st_mode) ? copy(from, to)
                                 : wan_err_errno("%s", from);
}

int wan_index_carry(const char *from, const char *to)
{
    return carry(from, to, 0);
}
