/* SPDX-License-Identifier: Apache-2.0
 *
 * config_table.c - the table of keys: the sections of their owners, one after another.
 */
#include "lib/train/config/keys.h"

static const wan_key_section *const sections[] = {
    &wan_keys_model, &wan_keys_wan,   &wan_keys_dit,  &wan_keys_parallel,   &wan_keys_data,
    &wan_keys_run,   &wan_keys_optim, &wan_keys_flow, &wan_keys_checkpoint,
};
#define SECTIONS (sizeof sections / sizeof sections[0])

int wan_config_n_keys(void)
{
    int n = 0;
    for (size_t i = 0; i < SECTIONS; i++)
        n += sections[i]->n;
    return n;
}

/* The section of key i; its place in the section goes to *i. */
static const wan_key_section *section_of(int *i)
{
    size_t s = 0;
    while (*i >= sections[s]->n)
        *i -= sections[s++]->n;
    return sections[s];
}

const wan_key *wan_config_key(int i)
{
    const wan_key_section *s = section_of(&i);
    return &s->key[i];
}

int wan_config_key_model(int i)
{
    return section_of(&i)->model;
}
