#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the demo's small model folder: tokenizer, text encoder, scheduler, VAE.

    make_model.py text                        tokenizer/ text_encoder/ scheduler/
    make_model.py image --minutes 6           VAE, first stage (2-D)
    make_model.py video --minutes 60          VAE, second stage (9 frames)
    make_model.py video --minutes 10 --resume goes on with an interrupted stage
    make_model.py longer --minutes 20         VAE, third stage (17 frames)
    make_model.py export                      vae/ from the last stage's state
    make_model.py score                       PSNR of vae/ as stored, by diffusers

Needs torch, diffusers, transformers, sentencepiece. Uses CUDA when there is
one. The trainer's state is kept outside the repository, in --state.
"""

import argparse
import os
import sys

import torch

import tiny_text
import tiny_vae

HERE = os.path.dirname(os.path.abspath(__file__))

MODEL_INDEX = {
    "_class_name": "WanPipeline",
    "_diffusers_version": "0.33.0.dev0",
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}

SCHEDULER = {
    "_class_name": "UniPCMultistepScheduler",
    "_diffusers_version": "0.33.0.dev0",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "disable_corrector": [],
    "dynamic_thresholding_ratio": 0.995,
    "final_sigmas_type": "zero",
    "flow_shift": 3.0,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "predict_x0": True,
    "prediction_type": "flow_prediction",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "solver_order": 2,
    "solver_p": None,
    "solver_type": "bh2",
    "steps_offset": 0,
    "thresholding": False,
    "timestep_spacing": "linspace",
    "trained_betas": None,
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_flow_sigmas": True,
    "use_karras_sigmas": False,
}


def text(args):
    out = args.out
    os.makedirs(os.path.join(out, "scheduler"), exist_ok=True)
    tiny_text.write_json(os.path.join(out, "model_index.json"), MODEL_INDEX)
    tiny_text.write_json(os.path.join(out, "scheduler", "scheduler_config.json"), SCHEDULER)
    n = tiny_text.make_tokenizer(os.path.join(out, "tokenizer"))
    tiny_text.make_text_encoder(os.path.join(out, "text_encoder"), n)
    print(f"tokenizer: {n} pieces")


def state(args, name):
    return os.path.join(args.state, name)


def device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def run(args, trainer, name):
    path, start = state(args, name + ".pt"), 0.0
    if args.resume and os.path.exists(path):
        start = trainer.load(path)
        print(f"going on at {start:.3f} of the stage")
    weights = tiny_vae.run_stage(trainer, args.minutes, path, start)
    torch.save(weights, state(args, name + ".pt.w"))


def image(args):
    run(args, tiny_vae.Trainer(tiny_vae.init(), 1, args.lr or 2.5e-3, args.batch or 16, 1, device()), "img")


def video(args):
    first = torch.load(args.start or state(args, "img.pt.w"), map_location="cpu")
    run(args, tiny_vae.Trainer(first, tiny_vae.FRAMES, args.lr or 1.2e-3, args.batch or 4, 2, device()), "vid")


def longer(args):
    """Past 9 frames the time convolutions see a full history for the first time."""
    first = torch.load(args.start or state(args, "vid.pt.w"), map_location="cpu")
    run(args, tiny_vae.Trainer(first, 17, args.lr or 1.5e-4, args.batch or 2, 3, device()), "long")


def newest(args):
    """The averaged weights of the last stage, whether it has ended or not."""
    names = [n for n in ("long.pt", "vid.pt") if os.path.exists(state(args, n))]
    s = torch.load(state(args, names[0]), map_location="cpu")
    return {k: v.detach().float().contiguous() for k, v in s["ema"].items()}


@torch.no_grad()
def latent_stats(p, clips):
    z = torch.cat([tiny_vae.encode(p, clips[i:i + 8]) for i in range(0, len(clips), 8)])
    return z.mean((0, 2, 3, 4)).tolist(), z.std((0, 2, 3, 4)).tolist()


def export(args):
    from safetensors.torch import save_file
    folder = os.path.join(args.out, "vae")
    os.makedirs(folder, exist_ok=True)
    half = {k: v.to(torch.float16) for k, v in newest(args).items()}
    clips = tiny_vae.to_unit(tiny_vae.demo_clips(tiny_vae.FRAMES, False))
    mean, std = latent_stats({k: v.float() for k, v in half.items()}, clips)
    cfg = dict(tiny_vae.VAE_CONFIG, latents_mean=[round(v, 4) for v in mean],
               latents_std=[round(v, 4) for v in std])
    tiny_text.write_json(os.path.join(folder, "config.json"), cfg)
    path = os.path.join(folder, "diffusion_pytorch_model.safetensors")
    save_file(half, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)
    print("latent std", " ".join(f"{v:.2f}" for v in std))


@torch.no_grad()
def score(args):
    """PSNR of the stored half-precision weights, run by diffusers in fp32."""
    from diffusers import AutoencoderKLWan
    vae = AutoencoderKLWan.from_pretrained(os.path.join(args.out, "vae"), torch_dtype=torch.float32).eval()
    p = vae.state_dict()
    for frames in (9, 17):
        x = tiny_vae.fixed_clips(frames)
        y = torch.cat([vae.decode(vae.encode(x[i:i + 1]).latent_dist.mode()).sample for i in range(len(x))])
        e = (y - x).square()
        ours = tiny_vae.decode(p, tiny_vae.encode(p, x)).clamp(-1, 1)
        worst = min(tiny_vae.psnr_of(v) for v in e.mean((1, 2, 3, 4)).tolist())
        print(f"{frames} frames: mean {tiny_vae.psnr_of(e.mean().item()):.2f} worst clip {worst:.2f} per frame "
              + " ".join(f"{tiny_vae.psnr_of(v):.1f}" for v in e.mean((0, 1, 3, 4)).tolist())
              + f"  (differs from tiny_vae.py by {(ours - y).abs().max():.1e})")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("step", choices=["text", "image", "video", "longer", "export", "score"])
    a.add_argument("--out", default=HERE)
    a.add_argument("--state", default="/work/ref/tiny", help="trainer state, not in git")
    a.add_argument("--start", help="weights to start the video stage from")
    a.add_argument("--minutes", type=float, default=10)
    a.add_argument("--lr", type=float)
    a.add_argument("--batch", type=int)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--resume", action="store_true")
    args = a.parse_args()
    torch.set_num_threads(args.threads)
    os.makedirs(args.state, exist_ok=True)
    globals()[args.step](args)


if __name__ == "__main__":
    sys.exit(main())
