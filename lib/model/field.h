/* SPDX-License-Identifier: Apache-2.0
 *
 * field.h - a field of somebody's settings that a key of the run's configuration sets: how models
 * and objectives say which keys are theirs.
 */
#ifndef WAN_MODEL_FIELD_H
#define WAN_MODEL_FIELD_H

#include <stddef.h>

enum wan_field_kind { WAN_FIELD_INT /* int, flag or enum */, WAN_FIELD_REAL /* double */ };

typedef struct wan_field {
    const char *key; /* "flow.shift" */
    size_t offset;   /* in the settings */
    enum wan_field_kind kind;
} wan_field;

/* The number in a field, and a number put into it. */
static inline double wan_field_get(const wan_field *f, const void *settings)
{
    const char *p = (const char *)settings + f->offset;
    return f->kind == WAN_FIELD_INT ? *(const int *)(const void *)p
                                    : *(const double *)(const void *)p;
}
static inline void wan_field_set(const wan_field *f, void *settings, double x)
{
    char *p = (char *)settings + f->offset;
    if (f->kind == WAN_FIELD_INT)
        *(int *)(void *)p = (int)x;
    else
        *(double *)(void *)p = x;
}

#endif
