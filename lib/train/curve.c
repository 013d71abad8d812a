/* SPDX-License-Identifier: Apache-2.0
 *
 * curve.c - see curve.h.
 */
#include "lib/train/curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

/* The number under a key: 1; 0: there is none; a null is NaN. */
static int number(double *out, const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    const char *dot = strchr(key, '.');
    char list[64];
    if (!v && dot && (size_t)(dot - key) < sizeof list &&
        strspn(dot + 1, "0123456789") == strlen(dot + 1)) {
        snprintf(list, sizeof list, "%.*s", (int)(dot - key), key);
        v = json_array_get(json_object_get(line, list), strtoul(dot + 1, NULL, 10));
        if (json_is_array(v)) /* count, mean */
            v = json_array_get(v, 1);
    }
    if (!v || (!json_is_number(v) && !json_is_null(v)))
        return 0;
    *out = json_is_null(v) ? NAN : json_number_value(v);
    return 1;
}

static int add(wan_curve *c, size_t *room, double x, double y)
{
    if (c->n == *room) {
        *room = *room ? 2 * *room : 1024;
        double *a = realloc(c->x, *room * sizeof *a);
        c->x = a ? a : c->x;
        double *b = a ? realloc(c->y, *room * sizeof *b) : NULL;
        c->y = b ? b : c->y;
        if (!a || !b)
            return wan_err("out of memory (curve)");
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return 0;
}

static int read_line(wan_curve *c, size_t *room, const char *text, const char *what, const char *x,
                     const char *y)
{
    double a = 0, b = 0;
    size_t n = strlen(text);
    json_t *j = wan_json_parse(text, n, what);
    if (!j)
        return (n && text[n - 1] == '\n') || wan_err_memory() ? -1
                                                              : 0; /* a run that is being written */
    int has = number(&a, j, x), rc = 0;
    if (!has || a - a != 0)
        rc = wan_err("%s: no number \"%s\"", what, x);
    else if (number(&b, j, y))
        rc = add(c, room, a, b);
    json_decref(j);
    return rc;
}

int wan_curve_read(wan_curve *c, const char *path, const char *x, const char *y)
{
    FILE *f;
    const char *name;
    char *line = NULL, what[1024];
    size_t size = 0, room = 0;
    int rc = 0;
    *c = (wan_curve){ 0 };
    WAN_TRY(wan_in_open(&f, path, &name));
    for (long k = 1; rc == 0 && getline(&line, &size, f) >= 0; k++) {
        snprintf(what, sizeof what, "%s: line %ld", name, k);
        rc = read_line(c, &room, line, what, x, y);
    }
    if (rc == 0 && !feof(f)) /* ferror says nothing of a line that found no memory */
        rc = wan_err_errno("%s", name);
    free(line);
    wan_in_close(f);
    if (rc < 0)
        wan_curve_free(c);
    return rc;
}

void wan_curve_free(wan_curve *c)
{
    free(c->x);
    free(c->y);
    *c = (wan_curve){ 0 };
}
