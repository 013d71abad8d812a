/* SPDX-License-Identifier: Apache-2.0
 *
 * inspect.h - what can be told about a record without knowing what it is for.
 */
#ifndef WAN_REC_INSPECT_H
#define WAN_REC_INSPECT_H

#include "lib/rec/record/record.h"

/* {"key","meta","tensors":[{"name","dtype","shape","bytes","sha256"}]}, the digests of the data only
 * where asked for.  New reference; NULL: out of memory. */
json_t *wan_inspect_json(const wan_record *rec, int digest);
/* Whether a tensor with one of record.h's well-known names has the type and the number of dimensions given there,
 * and frames three colours; other names may have any. */
int wan_inspect_shape(const wan_tensor *t);
/* What is wrong with the tensor, as the end of a sentence ("holds values that are not finite");
 * NULL when nothing is. */
const char *wan_inspect_fault(const wan_tensor *t);

#endif
