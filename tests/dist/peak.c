/* SPDX-License-Identifier: Apache-2.0
 *
 * peak.c - preloaded into a tool: at its end, the most memory it has had, into PEAK.RANK in KiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((destructor)) static void say(void)
{
    const char *path = getenv("PEAK"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    char line[256], name[512];
    if (!path || !rank)
        return;
    snprintf(name, sizeof name, "%s.%s", path, rank);
    FILE *in = fopen("/proc/self/status", "r"), *out = in ? fopen(name, "w") : NULL;
    while (out && fgets(line, sizeof line, in))
        if (!strncmp(line, "VmHWM:", 6))
            fprintf(out, "%ld\n", strtol(line + 6, NULL, 10));
    if (out)
        fclose(out);
    if (in)
        fclose(in);
}
