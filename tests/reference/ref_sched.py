# SPDX-License-Identifier: Apache-2.0
"""sched: sigma and timestep lists of every sampler."""

import os

import numpy as np
import torch

from common import case_dir, save_json, versions
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

STEPS = [1, 2, 3, 5, 10, 20, 50, 100]
SHIFTS = [1.0, 3.0, 5.0, 8.0, 16.0]


def unipc(shift):
    """With the config of the published Wan repositories."""
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000,
                                   flow_shift=shift)


def dpmpp(shift):
    return DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True,
                                       num_train_timesteps=1000, flow_shift=shift, algorithm_type="dpmsolver++",
                                       solver_type="midpoint", solver_order=2)


def euler(shift):
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)


def shifted(u, s):
    return s * u / (1 + (s - 1) * u)


def official_unipc(steps, shift):
    """wan-model(7), Schedules: 0.999 rounded to float32, down to 0, the last point dropped."""
    top = float(np.float32(1.0 - 1.0 / 1000))
    return official(shifted(np.linspace(top, 0.0, steps + 1)[:-1], shift))


def official_dpmpp(steps, shift):
    return official(shifted(np.linspace(1, 0, steps + 1)[:steps], shift))


def official(sigmas):
    """float64 sigmas -> float32 with a final 0; timesteps truncated from the float64 values."""
    return np.append(sigmas, 0.0).astype(np.float32), (sigmas * 1000).astype(np.int64)


def library(make):
    def lists(steps, shift):
        s = make(shift)
        s.set_timesteps(steps)
        return s.sigmas.numpy(), s.timesteps.numpy()
    return lists


SCHEDULES = {"unipc": library(unipc), "unipc-official": official_unipc, "dpm++": library(dpmpp),
             "dpm++-official": official_dpmpp, "euler": library(euler)}


def small(out):
    d = case_dir(out, "sched")
    rows = []
    for name, lists in SCHEDULES.items():
        for steps in STEPS:
            for shift in SHIFTS:
                sigmas, timesteps = lists(steps, shift)
                assert sigmas.dtype == np.float32 and len(sigmas) == steps + 1 and len(timesteps) == steps
                # A float32 written as the double it equals: any JSON reader gives it back exactly.
                rows.append({"schedule": name, "steps": steps, "shift": shift, "sigmas": [float(x) for x in sigmas],
                             "timesteps": [x.item() for x in timesteps]})
    with open(os.path.join(d, "lists.jsonl"), "w", encoding="utf-8") as f:
        import json
        for row in rows:
            f.write(json.dumps(row) + "\n")
    save_json(os.path.join(d, "case.json"), {
        "case": "sched", "lists": len(rows), "sigmas": "float32 values, steps + 1 of them, the last 0",
        "timesteps": "int64 for unipc and dpm++ (truncated from float64), float32 for euler",
        "base": {"unipc": "u = linspace(1, 0.001, N+1)[:-1]; sigma = shift(u); sigma[0] -= 1e-6 if within 1e-6 of 1",
                 "unipc-official": "u = linspace(float32(0.999), 0, N+1)[:-1]",
                 "dpm++": "u = 1 - linspace(1, 0.001, N+1) reversed, without the last",
                 "dpm++-official": "u = linspace(1, 0, N+1)[:N]",
                 "euler": "the constructor shifts sigma_min and sigma_max; u = linspace(1000, 1000*sigma_min, N)/1000, shifted again"},
        "linspace": "numpy: arange(n)*step + start in float64, step = (stop-start)/(n-1), the last value set to stop",
        "versions": versions()})
    print("sched", len(rows), "lists")


def large(out):
    pass
