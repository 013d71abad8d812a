/* SPDX-License-Identifier: Apache-2.0
 *
 * comm.c - choosing a transport, and the calls made of others.
 */
#include "lib/dist/comm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/dist/transport.h"
#include "lib/dist/watch.h"

enum { HOST = 128, GRACE = 10 }; /* seconds that a checkpoint under way may still take */

/* Variables that Open MPI, PMIx, MPICH and Slurm's MPI plugins set for the processes they start. */
static int launched(void)
{
    static const char *const vars[] = { "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE" };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++)
        if (getenv(vars[i]))
            return 1;
    return 0;
}

/* Without MPI every process of a job step would be a run of its own, all writing the same files. */
static int lone(void)
{
    const char *n = getenv("SLURM_STEP_NUM_TASKS");
    if (n && atoi(n) > 1)
        return wan_err("srun started %s processes that do not know each other: use srun --mpi=pmix "
                       "(srun --mpi=list shows what there is)",
                       n);
    return 0;
}

/* nccl over the ranks that auto brings together */
static int open_nccl(wan_comm *c, double dead, double late)
{
    wan_comm *boot;
    WAN_TRY(wan_comm_open(&boot, "auto", dead, late));
    if (wan_comm_nccl_open(c, boot) == 0)
        return 0;
    wan_comm_close(&boot);
    return -1;
}

int wan_comm_open(wan_comm **out, const char *transport, double dead, double late)
{
    wan_comm *c = wan_calloc(1, sizeof *c, "communicator");
    int rc;
    *out = NULL;
    if (!c)
        return -1;
    if (!strcmp(transport, "auto") && !launched())
        rc = lone() < 0 ? -1 : wan_comm_self_open(c);
    else if (!strcmp(transport, "self"))
        rc = wan_comm_self_open(c);
    else if (!strcmp(transport, "mpi") || !strcmp(transport, "auto"))
        rc = wan_comm_mpi_open(c, dead, late);
    else if (!strcmp(transport, "nccl"))
        rc = open_nccl(c, dead, late);
    else
        rc = wan_err("transport \"%s\" is none of auto, self, mpi, nccl", transport);
    if (rc == 0 && wan_group_open_world(c) < 0) {
        c->t->close(c);
        rc = -1;
    }
    if (rc < 0)
        free(c);
    else
        *out = c;
    return rc;
}

void wan_comm_close(wan_comm **pc)
{
    wan_comm *c = *pc;
    if (!c)
        return;
    c->t->close(c);
    free(c->world);
    free(c);
    *pc = NULL;
}

void wan_comm_on_lost(wan_comm *c, wan_comm_lost_fn *fn)
{
    if (c->watch)
        wan_watch_on_lost(c->watch, fn, GRACE);
}

int wan_comm_sum_f64(wan_comm *c, double *x, size_t n)
{
    return wan_group_all_reduce(c->world, NULL, x, n, WAN_F64, WAN_SUM);
}

int wan_comm_gather(wan_comm *c, const void *x, size_t bytes, void *all)
{
    return wan_group_all_gather(c->world, NULL, all, x, bytes, WAN_U8);
}

int wan_comm_local(wan_comm *c, int *rank, int *ranks)
{
    char host[HOST] = "";
    char(*all)[HOST] = wan_calloc((size_t)c->size, sizeof *all, "host names");
    if (!all)
        return -1;
    gethostname(host, sizeof host - 1);
    int rc = wan_comm_gather(c, host, sizeof host, all);
    *rank = *ranks = 0;
    for (int i = 0; i < c->size; i++)
        if (!strcmp(all[i], host)) {
            *rank += i < c->rank;
            *ranks += 1;
        }
    free(all);
    return rc;
}

int wan_comm_machines(wan_comm *c, int *machines)
{
    int rank, ranks;
    WAN_TRY(wan_comm_local(c, &rank, &ranks));
    double first = rank == 0;
    WAN_TRY(wan_comm_sum_f64(c, &first, 1));
    *machines = (int)first;
    return 0;
}
