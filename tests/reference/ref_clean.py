# SPDX-License-Identifier: Apache-2.0
"""clean: prompts through diffusers' prompt_clean (ftfy, html.unescape twice, whitespace)."""

import html
import os
import re

import ftfy

import texts
from common import case_dir, save_json, save_jsonl, versions
from diffusers.pipelines.wan.pipeline_wan import prompt_clean


def no_mojibake(s):
    """prompt_clean but for ftfy's guessing of wrong codecs: what an implementation without it should give."""
    s = ftfy.fix_text(s, fix_encoding=False)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(s)).strip()).strip()


def small(out):
    d = case_dir(out, "clean")
    rows = []
    for s in texts.build(51):
        row = {"text": s, "clean": prompt_clean(s)}
        if no_mojibake(s) != row["clean"]:
            row["clean_without_fix_encoding"] = no_mojibake(s)
        rows.append(row)
    save_jsonl(os.path.join(d, "strings.jsonl"), rows)
    save_json(os.path.join(d, "case.json"), {
        "case": "clean", "strings": len(rows), "ftfy": ftfy.__version__,
        "clean_without_fix_encoding": "present where ftfy repaired mojibake: the result without that repair",
        "rows_with_mojibake": [i for i, r in enumerate(rows) if "clean_without_fix_encoding" in r],
        "rows_unchanged": sum(r["text"] == r["clean"] for r in rows), "versions": versions()})
    print("clean", len(rows), "strings,", sum("clean_without_fix_encoding" in r for r in rows), "repaired,",
          sum(r["text"] == r["clean"] for r in rows), "unchanged")


def large(out):
    pass
