# SPDX-License-Identifier: Apache-2.0
"""pipe: a whole tiny Wan folder, and what diffusers' WanPipeline samples from it."""

import copy
import os

import numpy as np
import torch
from transformers import UMT5EncoderModel

import ref_net
import ref_sched
import ref_tokenizer
import ref_umt5
import ref_vae
from common import case_dir, rel_l2, save, save_json, versions
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

PROMPT = "A cat walks slowly &amp; turns to look at the camera,  then runs through the morning light."
NEGATIVE = "Slow motion, shallow depth"
SEED = 1234


def link(d, name, target):
    path = os.path.join(d, name)
    if os.path.lexists(path):
        os.remove(path)
    os.symlink(target, path)


def folder(d, transformer, vae, text_encoder, tokenizer):
    """The HuggingFace layout, out of the parts that other cases hold."""
    for name, target in (("transformer", transformer), ("vae", vae), ("text_encoder", text_encoder),
                         ("tokenizer", tokenizer)):
        link(d, name, os.path.join("..", target))
    os.makedirs(os.path.join(d, "scheduler"), exist_ok=True)
    ref_sched.unipc(5.0).save_pretrained(os.path.join(d, "scheduler"))
    save_json(os.path.join(d, "model_index.json"), {
        "_class_name": "WanPipeline", "_diffusers_version": "0.33.0.dev0",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"]})


class unipc_official(UniPCMultistepScheduler):
    """diffusers' solver on the official schedule: the lists are given, so the shift of the config must do nothing."""

    def set_timesteps(self, n, device=None, **_):
        sigmas = ref_sched.shifted(np.linspace(float(np.float32(0.999)), 0.0, n + 1)[:-1], self.official_shift)
        super().set_timesteps(sigmas=sigmas, device=device)


def make_unipc_official(shift):
    s = unipc_official(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=1.0)
    s.official_shift = shift
    return s


class dpmpp_official:
    """DPM++ 2M midpoint on the official schedule, sigma_0 = 1: wan-model(7), DPM++ 2M, with the infinities taken out.

    The coefficients are formed in float32, as the original does.
    """
    order, init_noise_sigma = 1, 1.0

    def __init__(self, shift):
        self.shift, self.config = shift, type("config", (dict,), {"num_train_timesteps": 1000})()

    def set_timesteps(self, n, device=None):
        sigmas, t = ref_sched.official_dpmpp(n, self.shift)
        self.sigmas, self.timesteps, self.i, self.m = torch.from_numpy(sigmas), torch.from_numpy(t), 0, None

    def set_begin_index(self, i):
        self.i = i

    def step(self, v, t, x, return_dict=False):
        s, i = self.sigmas, self.i
        lam = torch.log(1 - s) - torch.log(s)
        m = x - s[i] * v
        if i + 1 == len(s) - 1:  # the last: sigma 0
            nxt = m
        else:
            alpha = 1 - s[i + 1]
            e = torch.exp(-(lam[i + 1] - lam[i])) - 1  # -1 at i = 0, where lam is -inf
            nxt = (s[i + 1] / s[i]) * x - (alpha * e) * m
            if i >= 2:  # at i = 1 the step before was infinite and D1 is 0
                r0 = (lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])
                nxt = nxt - 0.5 * (alpha * e) * ((1.0 / r0) * (m - self.m))
        self.m, self.i = m, i + 1
        return (nxt,)


SAMPLERS = {"unipc": ref_sched.unipc, "dpm++": ref_sched.dpmpp, "euler": ref_sched.euler,
            "unipc-official": make_unipc_official, "dpm++-official": dpmpp_official}


def pad(rows, dtype):
    out = torch.zeros(1, 512, rows.shape[1], dtype=dtype)
    out[0, :len(rows)] = rows
    return out


def sample(models, make, shift, steps, scale, noise, text, negative, size, dtype):
    """The pipeline itself, in `dtype`, from given noise and text rows -> latents after each step, video [3,T,H,W]."""
    transformer, vae = (copy.deepcopy(m).to(dtype) for m in models)
    pipe = WanPipeline(tokenizer=None, text_encoder=None, vae=vae, scheduler=ref_sched.unipc(shift), transformer=transformer)
    pipe.scheduler = make(shift)
    pipe.set_progress_bar_config(disable=True)
    steps_out = []

    def keep(_pipe, _i, _t, kw):
        steps_out.append(kw["latents"][0].clone())
        return {}

    frames, height, width = size
    video = pipe(prompt_embeds=pad(text, dtype), negative_prompt_embeds=pad(negative, dtype), height=height, width=width,
                 num_frames=frames, num_inference_steps=steps, guidance_scale=scale, latents=noise[None].to(dtype),
                 output_type="np", callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"]).frames[0]
    return steps_out, video


def case(out, name, parts, size, steps, shift, scale, keep_steps=("unipc", "dpm++", "euler")):
    d = case_dir(out, name)
    folder(d, *parts)
    transformer = WanTransformer3DModel.from_pretrained(os.path.join(d, "transformer"), torch_dtype=torch.float32)
    vae = AutoencoderKLWan.from_pretrained(os.path.join(d, "vae"), torch_dtype=torch.float32)
    encoder = UMT5EncoderModel.from_pretrained(os.path.join(d, "text_encoder"), dtype=torch.float32).train(False)
    tok = ref_tokenizer.fast(os.path.join(d, "tokenizer", "spiece.model"))
    ids = [torch.tensor(ref_tokenizer.ids_of(tok, prompt_clean(p))) for p in (PROMPT, NEGATIVE)]
    with torch.no_grad():
        text, negative = (encoder(input_ids=i[None]).last_hidden_state[0] for i in ids)
    frames, height, width = size
    shape = (16, (frames - 1) // 4 + 1, height // 8, width // 8)
    noise = torch.randn((1,) + shape, generator=torch.Generator("cpu").manual_seed(SEED))[0]
    outputs, floor, scale_of = {}, {}, {}
    for key, make in SAMPLERS.items():
        lat, video = sample((transformer, vae), make, shift, steps, scale, noise, text, negative, size, torch.float32)
        lat64, video64 = sample((transformer, vae), make, shift, steps, scale, noise, text, negative, size, torch.float64)
        # export_to_video: (frame * 255).astype(uint8), which truncates.
        rgb, rgb64 = (torch.from_numpy((v * 255).astype(np.uint8)) for v in (video, video64))
        outputs[f"rgb.{key}"], outputs[f"latents.{key}"] = rgb, lat[-1]
        if key in keep_steps:
            outputs.update({f"latents.{key}.{i:02d}": x for i, x in enumerate(lat)})
        floor[key] = {"latents_by_step": [rel_l2(a, b) for a, b in zip(lat, lat64)],
                      "rgb_values_that_differ": int((rgb != rgb64).sum()),
                      "rgb_max_difference": int((rgb.int() - rgb64.int()).abs().max())}
        scale_of[key] = {"latents_rms": float(lat[-1].std()), "rgb_mean": float(rgb.float().mean()),
                         "rgb_share_at_0_or_255": float(((rgb == 0) | (rgb == 255)).float().mean())}
        print(name, key, "last", floor[key]["latents_by_step"][-1], "rgb", floor[key]["rgb_values_that_differ"], scale_of[key])
    save(os.path.join(d, "in.safetensors"), {"noise": noise, "text": text, "negative": negative,
                                             "ids": ids[0].int(), "negative_ids": ids[1].int()})
    save(os.path.join(d, "out.safetensors"), outputs)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "prompt": PROMPT, "negative_prompt": NEGATIVE, "cleaned": [prompt_clean(PROMPT), prompt_clean(NEGATIVE)],
        "seed": SEED, "noise": "torch.randn([1,16,T,h,w]) of the CPU generator with that seed", "frames": frames,
        "height": height, "width": width, "steps": steps, "flow_shift": shift, "guidance_scale": scale,
        "latents.SAMPLER.NN": "[16,T,h,w] after step NN (from 00)", "latents.SAMPLER": "after the last step",
        "rgb.SAMPLER": "u8 [T,H,W,3], trunc(255 * clamp(video*0.5 + 0.5, 0, 1))",
        "unipc-official": "diffusers' solver on the official sigma and timestep lists",
        "dpm++-official": "own recurrence on the official lists (diffusers has no such schedule)",
        "float32_from_float64": floor, "scale": scale_of, "versions": versions()})


def small(out):
    case(out, "pipe", ("net_b/transformer", "vae_r2/vae", "umt5/text_encoder", "tokenizer_plain/tokenizer"), (5, 32, 32),
         20, 5.0, 5.0)


def large(out):
    """81 frames. Its parts are made here, so that it stands alone."""
    ref_net.case(out, "net_pipe", 18, dict(num_attention_heads=2, attention_head_dim=64, num_layers=3, ffn_dim=300,
                                           text_dim=40, freq_dim=256), [(16, 3, 4, 6)], [0.4], [60], 5.0)
    ref_vae.case(out, "vae_pipe", 25, dict(base_dim=8, num_res_blocks=2), [(1, 32, 48)])
    ref_umt5.small(out)
    ref_tokenizer.small(out, keep_json=True)
    case(out, "pipe_81", ("net_pipe/transformer", "vae_pipe/vae", "umt5/text_encoder", "tokenizer_plain/tokenizer"),
         (81, 48, 64), 20, 5.0, 5.0)
