#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# parts.sh CLIPS - how many parts a folder of clips is best made in: about 500 clips each, and enough to
# keep the machine busy.
set -euo pipefail
n=$(($(wan-decode --inputs "$1" | wc -l) - 1))
parts=$(((n + 499) / 500)) cores=$(nproc)
[ $parts -ge $cores ] || parts=$((n < cores ? n : cores))
echo $((parts > 0 ? parts : 1))
