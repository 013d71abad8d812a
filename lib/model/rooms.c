/* SPDX-License-Identifier: Apache-2.0
 *
 * rooms.c - see rooms.h.
 */
#include "lib/model/rooms.h"

#include <stdlib.h>

#include "lib/base/file.h"

/* Elements of a piece: 8 MiB are a third of a millisecond on the bus, beside which a call is nothing. */
enum { PIECE = 2 << 20, ROOMS = 2 };

struct wan_rooms {
    wan_dev *d;
    wan_real *room[ROOMS]; /* [vectors][PIECE] */
    int turn;
};

int64_t wan_rooms_bytes(void)
{
    return (int64_t)ROOMS * WAN_ROOMS_VECTORS * PIECE * (int64_t)sizeof(wan_real);
}

int wan_rooms_new(wan_rooms **out, wan_dev *d)
{
    wan_rooms *r = *out = wan_calloc(1, sizeof *r, "rooms");
    if (!r)
        return -1;
    r->d = d;
    for (int i = 0; i < ROOMS; i++) {
        r->room[i] = wan_dev_alloc(d, (size_t)wan_rooms_bytes() / ROOMS, "rooms of vectors");
        if (!r->room[i]) {
            wan_rooms_free(out);
            return -1;
        }
    }
    return 0;
}

void wan_rooms_free(wan_rooms **pr)
{
    wan_rooms *r = *pr;
    for (int i = 0; r && i < ROOMS; i++)
        wan_dev_free(r->d, r->room[i]);
    free(r);
    *pr = NULL;
}

/* Piece `at` of n elements on its way into a room, whose last piece is on its way back. */
static int send(const wan_rooms *r, const wan_rooms_vector *v, int vectors, int room, int64_t at,
                int64_t n)
{
    WAN_TRY(wan_dev_meet(r->d, WAN_SENDS_AFTER_BRINGS));
    for (int i = 0; i < vectors; i++)
        if (wan_dev_is_far(r->d, v[i].x))
            WAN_TRY(wan_dev_send(r->d, r->room[room] + (int64_t)i * PIECE, v[i].x + at,
                                 (size_t)n * sizeof(wan_real)));
    return 0;
}

static int bring(const wan_rooms *r, const wan_rooms_vector *v, int vectors, int room, int64_t at,
                 int64_t n)
{
    WAN_TRY(wan_dev_meet(r->d, WAN_COPIES_AFTER_WORK));
    for (int i = 0; i < vectors; i++)
        if (v[i].changes && wan_dev_is_far(r->d, v[i].x))
            WAN_TRY(wan_dev_bring(r->d, v[i].x + at, r->room[room] + (int64_t)i * PIECE,
                                  (size_t)n * sizeof(wan_real)));
    return 0;
}

static int64_t piece(int64_t at, int64_t n)
{
    return n - at < PIECE ? n - at : PIECE;
}

int wan_rooms_pass(wan_rooms *r, const wan_rooms_vector *v, int vectors, int64_t n,
                   wan_rooms_fn *fn, void *arg)
{
    wan_real *x[WAN_ROOMS_VECTORS];
    int far = 0;
    for (int i = 0; i < vectors; i++) {
        x[i] = v[i].x;
        far += r && wan_dev_is_far(r->d, v[i].x);
    }
    if (!far)
        return n ? fn(arg, x, 0, n) : 0;
    for (int64_t at = 0; at < n; at += PIECE) {
        const int room = r->turn++ % ROOMS;
        const int64_t next = at + PIECE;
        if (at == 0)
            WAN_TRY(send(r, v, vectors, room, 0, piece(0, n)));
        WAN_TRY(wan_dev_meet(r->d, WAN_WORK_AFTER_COPIES));
        if (next < n)
            WAN_TRY(send(r, v, vectors, r->turn % ROOMS, next, piece(next, n)));
        for (int i = 0; i < vectors; i++)
            x[i] = wan_dev_is_far(r->d, v[i].x) ? r->room[room] + (int64_t)i * PIECE : v[i].x + at;
        WAN_TRY(fn(arg, x, at, piece(at, n)));
        WAN_TRY(bring(r, v, vectors, room, at, piece(at, n)));
    }
    return 0;
}
