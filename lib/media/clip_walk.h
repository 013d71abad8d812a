/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_walk.h - the clips of a folder and its subfolders (wan_clips_add).
 */
#ifndef WAN_MEDIA_CLIP_WALK_H
#define WAN_MEDIA_CLIP_WALK_H

#include <sys/stat.h>

#include "lib/media/clips.h"

/* s: of the folder, whose name has no / at its end but for the root.  -1: memory is out. */
int wan_clip_walk(wan_clips *c, const char *folder, const struct stat *s) WAN_MUST_CHECK;

#endif
