# SPDX-License-Identifier: Apache-2.0
"""vae_*: encode and decode, from diffusers' AutoencoderKLWan."""

import copy
import os

import torch

from common import case_dir, generator, randn, rel_l2, save, save_json, tidy_configs, versions
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan


def make_model(seed, bf16_values=False, **config):
    model = AutoencoderKLWan(**config).float().train(False)
    with torch.no_grad():
        for name, p in model.named_parameters():
            z = randn(seed, name, *p.shape)
            if name.endswith("gamma"):
                p.copy_(1.0 + 0.2 * z)
            elif name.endswith("bias"):
                p.copy_(0.1 * z)
            else:
                p.copy_(z * (p.shape[0] / p.numel()) ** 0.5)
            if bf16_values:
                p.copy_(p.bfloat16().float())
    return model


def save_model(model, d, bf16_values=False):
    if bf16_values:
        model = copy.deepcopy(model).to(torch.bfloat16)
    model.save_pretrained(d)
    tidy_configs(d)


def latent_stats(model, dtype):
    """mean and 1/std, the reciprocal formed in float32 as the pipelines do."""
    mean = torch.tensor(model.config.latents_mean).view(1, -1, 1, 1, 1).to(dtype)
    inv_std = (1.0 / torch.tensor(model.config.latents_std)).view(1, -1, 1, 1, 1).to(dtype)
    return mean, inv_std


def frames(seed, name, t, h, w):
    """u8 [T,H,W,3]: smooth waves that move, and noise on top."""
    g = generator(seed, name)
    k = torch.arange(t).view(t, 1, 1, 1) / 7.0
    y = torch.arange(h).view(1, h, 1, 1) / 9.0
    x = torch.arange(w).view(1, 1, w, 1) / 11.0
    c = torch.arange(3).view(1, 1, 1, 3) * 1.3
    v = 0.5 + 0.3 * torch.sin(x + k + c) + 0.2 * torch.cos(1.7 * y - 2.0 * k + c)
    v = v + 0.08 * torch.randn((t, h, w, 3), generator=g)
    return (v * 255).clamp(0, 255).to(torch.uint8)


def pixels(f, dtype):
    """u8 [T,H,W,3] -> [1,3,T,H,W] in [-1,1]."""
    return (f.to(dtype) / 255 * 2 - 1).permute(3, 0, 1, 2)[None]


def encode(model, f, dtype):
    mean, inv_std = latent_stats(model, dtype)
    mu = model.encode(pixels(f, dtype)).latent_dist.mode()
    return mu[0], ((mu - mean) * inv_std)[0]


def decode(model, z, dtype):
    mean, inv_std = latent_stats(model, dtype)
    return model.decode(z[None].to(dtype) / inv_std + mean).sample[0]


class upsample_in_own_type:
    """diffusers' WanUpsample goes through float32; a float64 run must not."""

    def __enter__(self):
        self.kept = autoencoder_kl_wan.WanUpsample.forward
        autoencoder_kl_wan.WanUpsample.forward = torch.nn.Upsample.forward

    def __exit__(self, *_):
        autoencoder_kl_wan.WanUpsample.forward = self.kept


def case(out, name, seed, config, sizes, bf16=False):
    d = case_dir(out, name)
    model = make_model(seed, bf16, **config)
    save_model(model, os.path.join(d, "vae"), bf16)
    inputs, outputs, noise, clamped = {}, {}, {}, {}
    for t, h, w in sizes:
        f = frames(seed, f"frames.{t}", t, h, w)
        z = randn(seed, f"z.{t}", 16, (t - 1) // 4 + 1, h // 8, w // 8)
        inputs[f"frames.{t}"], inputs[f"z.{t}"] = f, z
        with torch.no_grad():
            mu, latent = encode(model, f, torch.float32)
            video = decode(model, z, torch.float32)
            with upsample_in_own_type():
                m64 = copy.deepcopy(model).double()
                mu64, latent64 = encode(m64, f, torch.float64)
                video64 = decode(m64, z, torch.float64)
        outputs.update({f"mu.{t}": mu, f"latent.{t}": latent, f"video.{t}": video})
        noise.update({f"mu.{t}": rel_l2(mu, mu64), f"latent.{t}": rel_l2(latent, latent64),
                      f"video.{t}": rel_l2(video, video64)})
        clamped[f"video.{t}"] = float((video.abs() == 1).float().mean())
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), outputs)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "frames": [s[0] for s in sizes], "sizes": [list(s) for s in sizes],
        "frames.N": "u8 [T,H,W,3], pixel = u8/255*2-1", "mu.N": "encode(frames.N).mode(), not normalised",
        "latent.N": "(mu - mean) * (1/std)", "z.N": "normalised latent to decode",
        "video.N": "float32 [3,T,H,W]: decode(z/(1/std) + mean), clamped to [-1,1]",
        "share_clamped": clamped, "versions": versions(), "rel_l2_float32_from_float64": noise})
    print(name, noise, clamped, "mu rms", float(mu.std()), "video rms", float(video.std()))


def tiles(out, name, seed, config, side, step, sizes):
    """The same with tiling enabled; video as bytes."""
    d = case_dir(out, name)
    model = make_model(seed, True, **config)
    save_model(model, os.path.join(d, "vae"), True)
    model.enable_tiling(side, side, step, step)
    inputs, outputs = {}, {}
    for t, h, w in sizes:
        f = frames(seed, f"frames.{t}", t, h, w)
        z = randn(seed, f"z.{t}", 16, (t - 1) // 4 + 1, h // 8, w // 8)
        inputs[f"frames.{t}"], inputs[f"z.{t}"] = f, z
        with torch.no_grad():
            _, latent = encode(model, f, torch.float32)
            video = decode(model, z, torch.float32)
        outputs[f"latent.{t}"] = latent
        outputs[f"video.{t}"] = ((video + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), outputs)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "frames": [s[0] for s in sizes], "sizes": [list(s) for s in sizes],
        "side": side, "step": step, "video.N": "u8 [T,H,W,3], truncated (v+1)/2*255", "versions": versions()})


def small(out):
    tiles(out, "vaetile_r1", 26, dict(base_dim=4, num_res_blocks=1), 32, 24, [(1, 56, 40), (5, 40, 64), (9, 32, 48)])
    case(out, "vae_r1", 21, dict(base_dim=6, num_res_blocks=1), [(1, 32, 48), (5, 32, 48), (17, 16, 32)], bf16=True)
    case(out, "vae_r2", 22, dict(base_dim=4, num_res_blocks=2), [(1, 16, 16), (5, 32, 48), (17, 16, 32)], bf16=True)


def large(out):
    tiles(out, "vaetile_256", 27, dict(base_dim=8, num_res_blocks=2), 256, 192, [(1, 480, 272), (5, 264, 456)])
    case(out, "vae_12", 23, dict(base_dim=12, num_res_blocks=2), [(81, 64, 96), (17, 96, 64)])
    case(out, "vae_8", 24, dict(base_dim=8, num_res_blocks=1), [(81, 32, 48), (1, 128, 80)])
    case(out, "vae_64", 25, dict(base_dim=64, dim_mult=[1, 2, 2, 2], num_res_blocks=1), [(5, 32, 48), (17, 48, 40)])
