/* SPDX-License-Identifier: Apache-2.0
 *
 * inspect.c - a record as a line of JSON, and the faults a tensor can have on its own.
 */
#include "lib/rec/record/inspect.h"

#include <math.h>
#include <string.h>

#include "lib/base/sha256.h"

static json_t *digest_of(const wan_tensor *t)
{
    wan_sha256 sha;
    char hex[65];
    wan_sha256_init(&sha);
    wan_sha256_add(&sha, t->data, t->bytes);
    wan_sha256_hex(&sha, hex);
    return json_string(hex);
}

static json_t *tensor_json(const wan_tensor *t, int digest)
{
    json_t *line = wan_json_object();
    wan_json_put(&line, "name", json_string(t->name));
    wan_json_put(&line, "dtype", json_string(wan_dtype_name(t->dtype)));
    wan_json_put(&line, "shape", wan_json_ints(t->shape, t->rank));
    wan_json_put(&line, "bytes", json_integer((json_int_t)t->bytes));
    if (digest)
        wan_json_put(&line, "sha256", digest_of(t));
    return line;
}

json_t *wan_inspect_json(const wan_record *rec, int digest)
{
    json_t *tensors = wan_json_array(), *line = wan_json_object();
    for (int i = 0; i < rec->n_tensors; i++)
        wan_json_push(&tensors, tensor_json(&rec->tensors[i], digest));
    wan_json_put(&line, "key", json_string(rec->key));
    wan_json_put(&line, "meta", json_incref(rec->meta));
    wan_json_put(&line, "tensors", tensors);
    return line;
}

static int is_short_float(wan_dtype t)
{
    return t == WAN_F32 || t == WAN_BF16 || t == WAN_F16;
}

int wan_inspect_shape(const wan_tensor *t)
{
    if (!strcmp(t->name, "frames"))
        return t->dtype == WAN_U8 && t->rank == 4 && t->shape[3] == 3;
    if (!strcmp(t->name, "latent"))
        return is_short_float(t->dtype) && t->rank == 4;
    if (!strcmp(t->name, "text"))
        return is_short_float(t->dtype) && t->rank == 2;
    if (!strcmp(t->name, "token_ids"))
        return t->dtype == WAN_I32 && t->rank == 1;
    return 1;
}

static int finite_f64(const char *data, size_t n)
{
    double v;
    for (size_t i = 0; i < n; i++) {
        memcpy(&v, data + i * sizeof v, sizeof v);
        if (!isfinite(v))
            return 0;
    }
    return 1;
}

static int all_finite(const wan_tensor *t)
{
    float f[1024];
    size_t size = wan_dtype_size(t->dtype), n = t->bytes / size;
    if (t->dtype == WAN_F64) /* as F32 a large one would become infinite */
        return finite_f64(t->data, n);
    if (t->dtype != WAN_F32 && t->dtype != WAN_BF16 && t->dtype != WAN_F16)
        return 1;
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        if (wan_convert(f, WAN_F32, (const char *)t->data + i * size, t->dtype, m) < 0)
            return 0;
        for (size_t k = 0; k < m; k++)
            if (!isfinite(f[k]))
                return 0;
    }
    return 1;
}

const char *wan_inspect_fault(const wan_tensor *t)
{
    if (!wan_inspect_shape(t))
        return "has not the type and shape this name stands for";
    return all_finite(t) ? NULL : "holds values that are not finite";
}
