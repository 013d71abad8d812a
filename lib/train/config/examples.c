/* SPDX-License-Identifier: Apache-2.0
 *
 * examples.c - see examples.h.
 */
#include "lib/train/config/examples.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Folder of the running program. */
static int program_folder(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0)
        return -1;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (!slash)
        return -1;
    *slash = 0;
    return 0;
}

static int is_example(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && !strcmp(dot, ".yaml");
}

/* What the first line says behind its #. */
static void first_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    out[0] = 0;
    if (!f)
        return;
    if (fgets(out, (int)size, f))
        out[strcspn(out, "\n")] = 0;
    fclose(f);
    size_t skip = strspn(out, "# ");
    memmove(out, out + skip, strlen(out + skip) + 1);
}

int wan_examples_list(FILE *f)
{
    static const char *const places[] = { "../share/wan-tools/configs", "../../examples/configs" };
    char base[PATH_MAX], dir[PATH_MAX], text[200];
    int n = -1;
    struct dirent **list = NULL;
    if (program_folder(base, sizeof base) < 0)
        return 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && n <= 0; i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/%s", base, places[i]);
        n = realpath(path, dir) ? scandir(dir, &list, is_example, alphasort) : -1;
    }
    for (int i = 0; i < n; i++) {
        char path[2 * PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        first_line(path, text, sizeof text);
        fprintf(f, "  %s\n      %s\n", path, text);
        free(list[i]);
    }
    free(list);
    return n > 0 ? n : 0;
}
