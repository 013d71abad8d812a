/* SPDX-License-Identifier: Apache-2.0
 *
 * textrows.c - see textrows.h.
 */
#include "lib/model/block/textrows.h"

int64_t wan_textrows_count(int64_t *kept, const int64_t *n, int count, int64_t all, const char *who)
{
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        if (n[i] < 0 || n[i] > all)
            return wan_err("%s: sample %d has %lld text rows, must be 0..%lld", who, i,
                           (long long)n[i], (long long)all);
        sum += kept[i] = wan_textrows_kept(n[i], all);
    }
    return sum;
}

int wan_textrows_lay(wan_dev *d, wan_buf x, wan_real *kbias, const wan_pack *pack, wan_buf text,
                     const int64_t *n, int64_t width, int64_t all, wan_real *staging)
{
    int64_t from = 0;
    for (int i = 0; i < pack->n; i++) {
        int64_t at = pack->cu_host[i], zeros = all - n[i];
        if (n[i] > 0)
            WAN_TRY(d->ops->cast(d, wan_buf_at(x, at * width), wan_buf_at(text, from * width),
                                 n[i] * width));
        for (int64_t j = 0; j < n[i]; j++)
            staging[at + j] = 0;
        if (zeros > 0) {
            WAN_TRY(d->ops->fill(d, wan_buf_at(x, (at + n[i]) * width), 0, width));
            staging[at + n[i]] = (wan_real)log((double)zeros);
        }
        from += n[i];
    }
    return wan_dev_write(d, kbias, staging, (size_t)pack->S * sizeof *staging);
}
