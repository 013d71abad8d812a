/* SPDX-License-Identifier: Apache-2.0
 *
 * keep.c - preloaded: no library goes before the end, so that LeakSanitizer knows whose memory it was.
 */
int dlclose(void *library);

int dlclose(void *library)
{
    (void)library;
    return 0;
}
