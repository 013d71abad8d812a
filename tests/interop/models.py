# SPDX-License-Identifier: Apache-2.0
"""Model folders for and from diffusers, transformers, safetensors and torch (tests/interop/models.sh).

models.py make DIR TOKENIZER NOISE C T H W     a small random pipeline, saved by diffusers, and noise for it
models.py sample DIR NOISE OUT SIZE FRAMES STEPS PROMPT OTHER BOUND
                        latents of diffusers' pipeline; 1 when those of OTHER are further off, relative to the norm
models.py trade FILE FOLDER OPTIMIZER MEMBERS ENCODED OUT
                        FILE and FOLDER are the same tensors; OPTIMIZER's can be read; the .pth files of a shard are
                        the latents of the files in ENCODED; OUT/new.pth and OUT/legacy.pth are the tensors of FILE
"""
import glob
import os
import sys

import torch
from safetensors.torch import load_file, save_file


def make(out, tokenizer, noise, *shape):
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    torch.manual_seed(20261130)
    tok = AutoTokenizer.from_pretrained(tokenizer)
    text = UMT5EncoderModel(UMT5Config(vocab_size=len(tok), d_model=48, d_kv=8, d_ff=72, num_layers=3, num_heads=6))
    net = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, text_dim=48, freq_dim=64, ffn_dim=80, num_layers=3)
    with torch.no_grad():
        for p in list(net.parameters()) + list(text.parameters()):
            if p.dim() > 1:
                p.normal_(0, 0.08)
    vae = AutoencoderKLWan(base_dim=8, z_dim=16, num_res_blocks=1)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=5.0)
    WanPipeline(tokenizer=tok, text_encoder=text, transformer=net, vae=vae, scheduler=scheduler).save_pretrained(out)
    save_file({"noise": torch.randn([int(x) for x in shape], generator=torch.Generator().manual_seed(3))}, noise)


def sample(folder, noise, out, size, frames, steps, prompt, other, bound):
    from diffusers import UniPCMultistepScheduler, WanPipeline

    pipe = WanPipeline.from_pretrained(folder)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=5.0)
    width, height = (int(x) for x in size.split("*"))
    got = pipe(prompt=prompt, negative_prompt="", height=height, width=width, num_frames=int(frames),
               num_inference_steps=int(steps), guidance_scale=5.0, latents=load_file(noise)["noise"][None],
               output_type="latent").frames[0].float().contiguous()
    save_file({"latents": got}, out)
    off = float((load_file(other)["latents"].double() - got.double()).norm() / got.double().norm())
    print(f"off by {off:.2e}", file=sys.stderr)
    return not off <= float(bound)


def tensors(path):
    files = [path] if path.endswith(".safetensors") else sorted(glob.glob(os.path.join(path, "*.safetensors")))
    return {k: v for f in files for k, v in load_file(f).items()}


def equal(x, y):
    return sorted(x) == sorted(y) and all(x[k].dtype == y[k].dtype and torch.equal(x[k], y[k]) for k in x)


def trade(file, folder, optimizer, members, encoded, out):
    ours = tensors(file)
    if not equal(ours, tensors(folder)) or not tensors(optimizer):
        return 1
    want = [load_file(f)["latent"] for f in sorted(glob.glob(os.path.join(encoded, "*.safetensors")))]
    got = [torch.load(f, map_location="cpu", weights_only=True) for f in sorted(glob.glob(os.path.join(members, "*.pth")))]
    if not want or len(want) != len(got) or not all(torch.equal(x.float(), y.float()) for x, y in zip(got, want)):
        return 2
    torch.save(ours, os.path.join(out, "new.pth"))
    torch.save(ours, os.path.join(out, "legacy.pth"), _use_new_zipfile_serialization=False)
    return 0


if __name__ == "__main__":
    sys.exit(int(globals()[sys.argv[1]](*sys.argv[2:]) or 0))
