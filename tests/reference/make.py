# SPDX-License-Identifier: Apache-2.0
"""Writes the reference cases: make.py --small [DIR] | --large DIR [GROUP...]. See README.md."""

import argparse
import importlib
import os

GROUPS = ["net", "vae", "umt5", "sched", "rng", "tokenizer", "pipe", "train", "clean", "resize", "dit"]
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--small", nargs="?", const=os.path.join(HERE, "..", "data", "ref"), metavar="DIR",
                   help="the committed set (default tests/data/ref)")
    p.add_argument("--large", metavar="DIR", help="the set of make check-reference")
    p.add_argument("groups", nargs="*", help="of " + " ".join(GROUPS) + "; default all")
    args = p.parse_args()
    if not args.small and not args.large:
        p.error("give --small or --large DIR")
    for group in args.groups or GROUPS:
        module = importlib.import_module("ref_" + group)
        if args.small:
            module.small(args.small)
        if args.large:
            module.large(args.large)


if __name__ == "__main__":
    main()
