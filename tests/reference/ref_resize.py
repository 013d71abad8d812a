# SPDX-License-Identifier: Apache-2.0
"""resize: what OpenCV's resize makes of small pictures, which wan-decode --no-antialias has to give."""

import json
import os

import cv2
import numpy as np
from safetensors.numpy import save_file

MODES = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST,
         "area": cv2.INTER_AREA, "lanczos": cv2.INTER_LANCZOS4}
# noise above, smooth below; of the last two a seam of area falls on a pixel's edge, where rounding decides
SIZES = {(29, 37): [(10, 12), (31, 20), (29, 1)], (14, 62): [(10, 12), (31, 20), (29, 1)],
         (4, 116): [(5, 112)], (60, 5): [(62, 6)]}


def picture(h, w):
    p = np.random.RandomState(h).randint(0, 256, (h, w, 3)).astype(np.uint8)
    p[h // 2:] = cv2.GaussianBlur(p, (7, 7), 3)[h // 2:]
    return p


def small(out):
    d = os.path.join(out, "resize")
    os.makedirs(d, exist_ok=True)
    t = {}
    for (h, w), targets in SIZES.items():
        src = t[f"source.{h}x{w}"] = picture(h, w)
        for th, tw in targets:
            for name, mode in MODES.items():
                t[f"{name}.{h}x{w}.{th}x{tw}"] = cv2.resize(src, (tw, th), interpolation=mode)
    save_file({k: np.ascontiguousarray(t[k]) for k in sorted(t)}, os.path.join(d, "out.safetensors"))
    with open(os.path.join(d, "case.json"), "w", encoding="utf-8") as f:
        json.dump({"case": "resize", "source.HxW": "U8 [H, W, 3]", "MODE.HxW.hxw": "cv2.resize of it to h x w",
                   "versions": {"opencv": cv2.__version__, "numpy": np.__version__}}, f, indent=1)
        f.write("\n")


def large(out):
    pass
