/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_mpi_none.c - stands in for comm_mpi.c in a build without MPI.
 */
#include "lib/dist/transport.h"

int wan_comm_mpi_open(wan_comm *c, double dead, double late)
{
    (void)c, (void)dead, (void)late;
    return wan_err("started by an MPI launcher, but this build has no MPI (make MPI=1)");
}
