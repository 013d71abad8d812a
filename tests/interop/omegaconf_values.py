# SPDX-License-Identifier: Apache-2.0
"""Values in YAML as OmegaConf reads them, against wan-train --print-config: random documents in every
spelling of a number, boolean, text, null, anchor, merge key and reference.  Prints TAP."""
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Optional

from omegaconf import OmegaConf

INT = ["train.train_iters", "train.eval_iters", "checkpoint.keep", "rng.seed"]
REAL = ["optimizer.lr", "optimizer.weight_decay", "optimizer.clip_grad", "flow.logit_mean"]
BOOL = ["dataset.shuffle", "flow.stratify", "checkpoint.verify"]
TEXT = ["dataset.split", "dataset.empty_text", "checkpoint.pretrained_checkpoint", "dataset.path"]


@dataclass
class Train:
    train_iters: Optional[int] = None
    eval_iters: Optional[int] = None


@dataclass
class Checkpoint:
    keep: Optional[int] = None
    verify: Optional[bool] = None
    pretrained_checkpoint: Optional[str] = None


@dataclass
class Rng:
    seed: Optional[int] = None


@dataclass
class Optimizer:
    lr: Optional[float] = None
    weight_decay: Optional[float] = None
    clip_grad: Optional[float] = None


@dataclass
class Dataset:
    shuffle: Optional[bool] = None
    split: Optional[str] = None
    empty_text: Optional[str] = None
    path: Optional[str] = None


@dataclass
class Flow:
    stratify: Optional[bool] = None
    logit_mean: Optional[float] = None


@dataclass
class Schema:
    train: Train = field(default_factory=Train)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    rng: Rng = field(default_factory=Rng)
    optimizer: Optimizer = field(default_factory=Optimizer)
    dataset: Dataset = field(default_factory=Dataset)
    flow: Flow = field(default_factory=Flow)


def spell_int(r):
    n = r.choice([0, 1, 7, 1000, 65536, 123456789, r.randrange(10**6)])
    good = [str(n), f"+{n}", f"'{n}'", f'"{n}"', f"{n:_}", hex(n), f"0{n:o}", f"0b{n:b}", "~", "null"]
    return r.choice(good if r.random() < 0.97 else ["seven", "[1]", "1.5", "true", ".inf"])


def spell_real(r):
    x = r.choice(["5e-6", "5.0e-6", "1e-3", "0.25", ".5", "1.", "1_0.5", "7", "+0.5", "1E-4", "1.5e+1"])
    return r.choice([x, x, f"'{x}'", "~"] if r.random() < 0.97 else ["fast", "[0.1]", "true", "{}"])


def spell_bool(r):
    good = ["true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "no", "NO", "on", "On", "off",
            "OFF", "'true'", '"off"', "1", "0", "null"]
    return r.choice(good if r.random() < 0.97 else ["maybe", "[true]"])


def spell_text(r):
    good = ["word", "two words", "'single ''quoted'''", '"tab\\there"', '"\\u00e9\\u2028"', "a#b", "a #c",
            "'x: y'", "''", '""', "~", "null", '"null"', "'1_000'", "12", "/a/b-c_d.e",
            "|\n    two\n    lines", ">\n    folded\n    text", "${oc.env:WAN_ORACLE}",
            "pre-${oc.env:WAN_ORACLE}-post", "${oc.env:WAN_NONE,null}", "${oc.env:WAN_NONE,plain}",
            "${oc.env:WAN_NONE,'in quotes'}", "${rng.seed}", "s${rng.seed}", "${train.eval_iters}x",
            '"\\\\${rng.seed}"', "\\${rng.seed}", "\\\\${rng.seed}", "a\\b", "${oc.select:no.such,3}",
            "${oc.decode:'4'}", "True", "off"]
    bad = ["[a, b]", "${oc.env:WAN_NONE}", "${no.such.key}", "${x"]
    return r.choice(good if r.random() < 0.95 else bad)


def document(r):
    spell = {**{k: spell_int for k in INT}, **{k: spell_real for k in REAL},
             **{k: spell_bool for k in BOOL}, **{k: spell_text for k in TEXT}}
    keys = r.sample(sorted(spell), r.randrange(1, 7))
    values = {"rng.seed": str(r.randrange(1000)), "train.eval_iters": str(r.randrange(9))} # to refer to
    for k in keys:
        values.setdefault(k, spell[k](r))
    sections = {}
    for k, v in values.items():
        sections.setdefault(k.split(".")[0], {})[k.split(".")[1]] = v
    lines = []
    for s, members in sections.items():
        if len(members) > 1 and r.random() < 0.3: # half of them through an anchor
            first, *rest = members.items()
            lines.append(f"base_{s}: &{s}\n  {first[0]}: {first[1]}\n{s}:\n  <<: *{s}")
            lines += [f"  {k}: {v}" for k, v in rest]
        else:
            lines.append(f"{s}:")
            lines += [f"  {k}: {v}" for k, v in members.items()]
    return "\n".join(lines) + "\n", list(values)


def oracle(text):
    """{key: value} or an exception's name."""
    try:
        raw = OmegaConf.create(text) if text.strip() else OmegaConf.create()
        raw = OmegaConf.create({k: v for k, v in OmegaConf.to_container(raw).items() if not k.startswith("base_")})
        got = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Schema), raw), resolve=True)
    except Exception as e: # any refusal counts
        return type(e).__name__
    return {f"{s}.{k}": v for s, m in got.items() for k, v in m.items()}


def ours(text):
    with open("oracle.yaml", "w", encoding="utf-8") as f:
        f.write(text)
    p = subprocess.run(["wan-train", "--print-config", "oracle.yaml"], capture_output=True, text=True)
    if p.returncode:
        return p.stderr
    got = OmegaConf.to_container(OmegaConf.create(p.stdout), resolve=True)
    return {f"{s}.{k}": v for s, m in got.items() for k, v in m.items()}


def excused(text, theirs, mine):
    """Where the two may differ, and why."""
    if isinstance(mine, str) and not isinstance(theirs, str):
        return ("is a boolean where a text belongs" in mine  # OmegaConf makes the text "True" of it
                or "is null and stands inside" in mine or "neither a key nor" in mine)
    return False


def equal(key, theirs, mine, default):
    if theirs is None:
        return mine in (default, "") # null leaves the default; of a text it is the empty one
    if key in REAL:
        return float(theirs) == float(mine)
    if key == "dataset.split" or key in TEXT:
        return str(theirs) == ("" if mine is None else str(mine)) or (theirs == "None" and mine == "")
    return theirs == mine and isinstance(mine, type(theirs))


def main():
    os.environ["WAN_ORACLE"] = "from env"
    os.environ.pop("WAN_NONE", None)
    r, n, bad = random.Random(1), int(sys.argv[1]), 0
    default = ours("")
    refused = 0
    for _ in range(n):
        text, keys = document(r)
        theirs, mine = oracle(text), ours(text)
        wrong = []
        if isinstance(theirs, str) or isinstance(mine, str):
            refused += 1
            if isinstance(theirs, str) != isinstance(mine, str) and not excused(text, theirs, mine):
                wrong = [f"OmegaConf: {theirs}", f"ours: {mine}"]
        else:
            wrong = [f"{k}: OmegaConf {theirs[k]!r}, ours {mine[k]!r}" for k in keys
                     if not equal(k, theirs[k], mine[k], default[k])]
        if wrong:
            bad += 1
            print(f"# {text!r}: {'; '.join(wrong)}"[:600])
    print(f"{'not ok' if bad else 'ok'} 1 - {n} documents, {refused} of them refused: {bad} differ from OmegaConf")
    print("1..1")
    return bad > 0


sys.exit(main())
