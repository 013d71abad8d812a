/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_key.c - paths to record keys.
 */
#include "lib/rec/record/clip_key.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/rec/record/record_format.h"

enum { LONGEST = 200, DIGITS = 32 };

static int plain(unsigned char c)
{
    return (c < 0x80 && isalnum(c)) || c == '_' || c == '-' || c == '/';
}

static int alnum(char c)
{
    return (c & 0x80) == 0 && isalnum((unsigned char)c);
}

/* A first folder __x__ holds what tar readers skip. */
static int reserved(const char *path)
{
    size_t n = strcspn(path, "/");
    return n >= 4 && !strncmp(path, "__", 2) && !strncmp(path + n - 2, "__", 2);
}

/* Whether byte i of path is written as hex digits. */
static int hidden(const char *path, size_t i)
{
    if (path[i] == '_')
        return (path[i + 1] == '-' && alnum(path[i + 2])) || (i == 0 && reserved(path));
    if (path[i] == '/') /* no empty folders */
        return i == 0 || path[i - 1] == '/';
    return !plain((unsigned char)path[i]);
}

/* dst has room for 5 bytes for each of path's, and a NUL. */
static size_t escape(char *dst, const char *path)
{
    size_t n = 0, len = strlen(path);
    for (size_t i = 0; i < len;) {
        if (!hidden(path, i)) {
            dst[n++] = path[i++];
            continue;
        }
        n += (size_t)sprintf(dst + n, "_-");
        while (i < len && hidden(path, i))
            n += (size_t)sprintf(dst + n, "%02X", (unsigned char)path[i++]);
        dst[n++] = '-';
    }
    dst[n] = 0;
    return n;
}

char *wan_clip_key_make(const char *prefix, const char *path)
{
    size_t room = (prefix ? strlen(prefix) : 0) + strlen(path) + 1;
    char *whole = wan_malloc(room, 1, "key"), hex[65];
    char *key = whole ? wan_malloc(5 * room + LONGEST, 1, "key") : NULL;
    if (key) {
        snprintf(whole, room, "%s%s", prefix ? prefix : "", path);
        if (escape(key, whole) > LONGEST) {
            wan_sha256 s;
            wan_sha256_init(&s);
            wan_sha256_add(&s, whole, room - 1);
            wan_sha256_hex(&s, hex);
            sprintf(key + LONGEST - DIGITS - 3, "_-h%.*s", DIGITS, hex);
        }
    }
    free(whole);
    return key;
}

char *wan_clip_key_of(const char *name)
{
    if (wan_key_check(name, strlen(name)) < 0) {
        wan_err_clear();
        return wan_clip_key_make(NULL, name);
    }
    char *key = strdup(name);
    if (!key)
        wan_err("out of memory (key)");
    return key;
}
