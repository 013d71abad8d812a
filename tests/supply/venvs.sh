#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# venvs.sh DIR: the programs of others that tests/interop runs, from PyPI with pip, each environment once.  torch for
# x86-64 comes with the CUDA libraries there, 2 GB to fetch and 5 GB on disk: one of them serves all of today's programs,
# through a .pth file, and the old one is alone.  An environment counts when its last line is done, not when it exists.
set -eu
dir=$(mkdir -p "$1" && cd "$1" && pwd)
python=${PYTHON:-python3}
pip() { # ENV SPECIFIER... ; no copy in pip's cache, no byte code for a hundred thousand files that nobody imports
    nice -n 10 "$dir/$1/bin/python" -m pip install -q --no-cache-dir --no-compile --disable-pip-version-check "${@:2}"
}
environment() { # NAME SPECIFIER... [like OTHER]
    local name=$1 like=
    shift
    if [ "$1" = like ]; then like=$2 && shift 2; fi
    [ "$(cat "$dir/$name/whole" 2>/dev/null)" = "$* $like" ] && return
    echo "interop: $name: $*" >&2
    rm -rf "${dir:?}/$name"
    "$python" -m venv "$dir/$name"
    if [ "$like" ]; then
        for site in "$dir/$like"/lib/python*/site-packages; do echo "$site"; done \
            >"$(echo "$dir/$name"/lib/python*/site-packages)/like.pth"
    fi
    pip "$name" "$@"
    echo "$* $like" >"$dir/$name/whole"
}

environment now torch diffusers transformers safetensors sentencepiece protobuf ftfy accelerate tensorboard wandb omegaconf \
    pyyaml 'webdataset>=1,<2' datasets 'megatron-energon>=7,<8'
environment energon6 like now megatron-energon==6.0.1 av 'bitstring<4.3' ebmlite filetype sortedcontainers soundfile \
    'multi-storage-client<0.22'
# for Python 3.11 torch 2.2.2; a newer Python has none of that age, and takes the oldest there is for it
old=$("$dir/now/bin/python" -c 'import sys; print("torch<2.3" if sys.version_info < (3, 13) else "torch<2.8")')
environment torch_old "$old" 'numpy<2' 'safetensors<0.5'
