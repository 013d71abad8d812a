# SPDX-License-Identifier: Apache-2.0
"""The demo's small WAN VAE: forward pass, training clips, trainer.

The network is AutoencoderKLWan at small widths.  It is written here as plain
functions over a dict of tensors because a whole clip can then be computed at
once (no chunk cache) and a single image with 2-D convolutions only, which is
several times faster on a CPU.  make_model.py checks it against diffusers.
"""

import math
import os
import time

import torch
import torch.nn.functional as F

SIZE = 64
FRAMES = 9

VAE_CONFIG = {
    "_class_name": "AutoencoderKLWan",
    "_diffusers_version": "0.33.0.dev0",
    "attn_scales": [],
    "base_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}

# ---------------------------------------------------------------- forward --


def conv(p, name, x, pad=0):
    """Causal conv over [B,C,T,H,W], or its last tap over [B,C,H,W]."""
    w, b = p[name + ".weight"], p[name + ".bias"]
    if x.dim() == 4:
        w = w[:, :, -1] if w.dim() == 5 else w
        return F.conv2d(x, w, b, padding=pad)
    if w.shape[2] > 1:
        x = F.pad(x, (0, 0, 0, 0, w.shape[2] - 1, 0))
    return F.conv3d(x, w, b, padding=(0, pad, pad))


def frames2d(f, x):
    """Apply f to every frame of x on its own."""
    if x.dim() == 4:
        return f(x)
    b, c, t, h, w = x.shape
    y = f(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    return y.reshape(b, t, *y.shape[1:]).permute(0, 2, 1, 3, 4)


def norm(p, name, x):
    g = p[name + ".gamma"].reshape(-1, *([1] * (x.dim() - 2)))
    n = x.float().square().sum(1, keepdim=True).clamp_min(1e-24).rsqrt()
    return x * (n * math.sqrt(x.shape[1])).to(x.dtype) * g


def res(p, name, x):
    h = x
    if name + ".conv_shortcut.weight" in p:
        h = conv(p, name + ".conv_shortcut", x)
    x = conv(p, name + ".conv1", F.silu(norm(p, name + ".norm1", x)), 1)
    return h + conv(p, name + ".conv2", F.silu(norm(p, name + ".norm2", x)), 1)


def attention(p, name, x):
    def one(y):
        b, c, h, w = y.shape
        n = norm(p, name + ".norm", y)
        qkv = F.conv2d(n, p[name + ".to_qkv.weight"], p[name + ".to_qkv.bias"])
        q, k, v = qkv.reshape(b, 3, c, h * w).transpose(2, 3).unbind(1)
        s = (q @ k.transpose(1, 2) / math.sqrt(c)).softmax(-1) @ v
        s = s.transpose(1, 2).reshape(b, c, h, w)
        return y + F.conv2d(s, p[name + ".proj.weight"], p[name + ".proj.bias"])
    return frames2d(one, x)


def middle(p, name, x):
    x = res(p, name + ".resnets.0", x)
    x = attention(p, name + ".attentions.0", x)
    return res(p, name + ".resnets.1", x)


def head(p, side, x):
    return conv(p, side + ".conv_out", F.silu(norm(p, side + ".norm_out", x)), 1)


def downsample(p, name, x):
    w, b = p[name + ".resample.1.weight"], p[name + ".resample.1.bias"]
    x = frames2d(lambda y: F.conv2d(F.pad(y, (0, 1, 0, 1)), w, b, stride=2), x)
    tw = p.get(name + ".time_conv.weight")
    if tw is None or x.dim() == 4 or x.shape[2] == 1:
        return x
    y = F.conv3d(x, tw, p[name + ".time_conv.bias"], stride=(2, 1, 1))
    return torch.cat([x[:, :, :1], y], 2)


def upsample(p, name, x):
    tw = p.get(name + ".time_conv.weight")
    if tw is not None and x.dim() == 5 and x.shape[2] > 1:
        # Frame 0 is neither doubled nor used as history (wan-model(7), VAE time).
        y = F.pad(x[:, :, 1:], (0, 0, 0, 0, 2, 0))
        y = F.conv3d(y, tw, p[name + ".time_conv.bias"])
        b, c, t, h, w = y.shape
        y = y.reshape(b, 2, c // 2, t, h, w).permute(0, 2, 3, 1, 4, 5)
        x = torch.cat([x[:, :, :1], y.reshape(b, c // 2, 2 * t, h, w)], 2)
    w, b = p[name + ".resample.1.weight"], p[name + ".resample.1.bias"]

    def one(y):
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        return F.conv2d(y, w, b, padding=1)
    return frames2d(one, x)


def encode(p, x, cfg=VAE_CONFIG):
    """Pixels in [-1,1] to the latent mean."""
    x = conv(p, "encoder.conv_in", x, 1)
    n, i = len(cfg["dim_mult"]), 0
    for level in range(n):
        for _ in range(cfg["num_res_blocks"]):
            x = res(p, f"encoder.down_blocks.{i}", x)
            i += 1
        if level < n - 1:
            x = downsample(p, f"encoder.down_blocks.{i}", x)
            i += 1
    x = head(p, "encoder", middle(p, "encoder.mid_block", x))
    return conv(p, "quant_conv", x)[:, :cfg["z_dim"]]


def decode(p, z, cfg=VAE_CONFIG):
    """Latent to pixels, not clamped."""
    x = conv(p, "decoder.conv_in", conv(p, "post_quant_conv", z), 1)
    x = middle(p, "decoder.mid_block", x)
    n = len(cfg["dim_mult"])
    for i in range(n):
        for j in range(cfg["num_res_blocks"] + 1):
            x = res(p, f"decoder.up_blocks.{i}.resnets.{j}", x)
        if i < n - 1:
            x = upsample(p, f"decoder.up_blocks.{i}.upsamplers.0", x)
    return head(p, "decoder", x)


# ------------------------------------------------------------------- init --


def shapes():
    from diffusers import AutoencoderKLWan
    cfg = {k: v for k, v in VAE_CONFIG.items() if k[0] != "_"}
    return {k: tuple(v.shape) for k, v in AutoencoderKLWan(**cfg).state_dict().items()}


def init_weight(name, s):
    """A random start whose clips are per-frame images: only the newest tap is
    set, and the time convolutions copy the newest frame."""
    w = torch.zeros(s)
    if name.endswith("gamma"):
        return w + 1
    if name.endswith("bias"):
        return w
    if "time_conv" in name:
        for half in range(s[0] // s[1]):
            w[half * s[1]:(half + 1) * s[1], :, -1, 0, 0] = torch.eye(s[1])
        return w
    if name in ("quant_conv.weight", "post_quant_conv.weight"):
        w[:16, :16, 0, 0, 0] = torch.eye(16)
        return w
    t = w[:, :, -1] if w.dim() == 5 else w
    fan = t[0].numel()
    scale = 0.1 if ".conv2." in name or ".proj." in name else 1.0
    if ".conv1." in name:
        scale = 1.4
    t.normal_(0, scale / math.sqrt(fan))
    return w


def init(seed=1):
    torch.manual_seed(seed)
    p = {k: init_weight(k, s) for k, s in shapes().items()}
    p["quant_conv.bias"][16:] = -6.0      # log variance: a fixed std of 0.05
    return p


# ------------------------------------------------------------------ clips --

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230),
           "yellow": (235, 215, 50), "magenta": (215, 60, 210), "white": (240, 240, 240)}
GROUNDS = {"black": (20, 20, 20), "grey": (115, 115, 115), "navy": (16, 24, 84)}
RAMP = 2.0
SQUARE, TRIANGLE = 0.886, 0.65    # half side and inner radius, in units of r


def distance(kind, dx, dy, r):
    """Signed distance-like field of the three shapes, [B,...]; kind [B,...]."""
    circle = torch.sqrt(dx * dx + dy * dy) - r
    square = torch.maximum(dx.abs(), dy.abs()) - SQUARE * r
    slope = 0.8660254037844386 * dx.abs() - 0.5 * dy
    triangle = torch.maximum(slope, dy) - TRIANGLE * r
    return torch.where(kind == 0, circle, torch.where(kind == 1, square, triangle))


def uniform(b, lo, hi, g):
    return torch.rand(b, generator=g) * (hi - lo) + lo


def pick(table, b, g):
    t = torch.tensor(list(table.values()), dtype=torch.float32)
    return t[torch.randint(len(t), (b,), generator=g)]


def draw(kind, cx, cy, vx, vy, r, ang, fg, bg, frames):
    """[B,3,T,64,64] in 0..255, not rounded. All arguments are [B] or [B,3]."""
    v = lambda a: a[:, None, None, None]
    f = torch.arange(frames).float()[None, :, None, None]
    yy, xx = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    dx, dy = xx - v(cx) - v(vx) * f, yy - v(cy) - v(vy) * f
    c, s = torch.cos(v(ang)), torch.sin(v(ang))
    d = distance(v(kind), c * dx + s * dy, c * dy - s * dx, v(r))
    a = (0.5 - d / RAMP).clamp(0, 1)[:, None]
    bg, fg = bg[:, :, None, None, None], fg[:, :, None, None, None]
    return bg + a * (fg - bg)


def batch(b, frames, speed, g):
    """Random training clips: three quarters look like the demo's clips, the
    rest has any colour, size, place, turn, and direction."""
    kind = torch.randint(3, (b,), generator=g)
    wide = torch.rand(b, generator=g) < 0.25
    w3 = wide[:, None]
    r = torch.where(wide, uniform(b, 5, 20, g), uniform(b, 10.5, 14.5, g))
    mag = torch.where(wide, uniform(b, 0, 1.4, g), uniform(b, 0.7, 1.2, g)) * speed
    quarter = torch.randint(4, (b,), generator=g) * (math.pi / 2)
    turn = torch.where(wide, uniform(b, 0, 6.283, g), quarter)
    vx, vy = mag * torch.cos(turn), mag * torch.sin(turn)
    half = (frames - 1) / 2
    cx = 32 - vx * half + uniform(b, -1, 1, g) * torch.where(wide, 24.0, 5.0)
    cy = 32 - vy * half + uniform(b, -1, 1, g) * torch.where(wide, 24.0, 5.0)
    if frames == 1:                      # the image stage must see every place
        cx, cy = cx + uniform(b, -8, 8, g), cy + uniform(b, -8, 8, g)
    ang = torch.where(wide, uniform(b, -0.6, 0.6, g), torch.zeros(b))
    any3 = lambda: torch.rand(b, 3, generator=g) * 255
    near = lambda t: (t + 12 * torch.randn(b, 3, generator=g)).clamp(0, 255)
    fg = torch.where(w3, any3(), near(pick(COLOURS, b, g)))
    bg = torch.where(w3, any3(), near(pick(GROUNDS, b, g)))
    x = draw(kind, cx, cy, vx, vy, r, ang, fg, bg, frames)
    return x + ripple(b, g) * (torch.rand(b, generator=g) < 0.15)[:, None, None, None, None]


def ripple(b, g):
    """Smooth still noise, so that the code is not blind to anything else."""
    n = 30 * torch.randn(b, 3, 6, 6, generator=g)
    return F.interpolate(n, size=(SIZE, SIZE), mode="bicubic")[:, :, None]


YUV = torch.tensor([[0.2126, 0.7152, 0.0722], [-0.1146, -0.3854, 0.5], [0.5, -0.4542, -0.0458]])


def mp4_like(x, smooth):
    """What yuv420p does to a clip in 0..255: half-size chroma, scaled back by
    repetition (as the ffmpeg tool does) or smoothly (as lib/media does)."""
    b, _, t, h, w = x.shape
    y = torch.einsum("ij,bjthw->bithw", YUV, x)
    c = F.avg_pool2d(y[:, 1:].permute(0, 2, 1, 3, 4).reshape(b * t, 2, h, w), 2)
    c = F.interpolate(c, scale_factor=2, mode="bilinear" if smooth else "nearest")
    y = torch.cat([y[:, :1], c.reshape(b, t, 2, h, w).permute(0, 2, 1, 3, 4)], 1)
    return torch.einsum("ij,bjthw->bithw", torch.linalg.inv(YUV), y).clamp(0, 255)


def to_unit(x):
    return x.clamp(0, 255) / 127.5 - 1


def training_pair(b, frames, speed, g):
    """(input, target), [B,3,T,H,W] or [B,3,H,W] for one frame, in [-1,1]."""
    x = batch(b, frames, speed, g).clamp(0, 255)
    rough = (torch.rand(b, generator=g) < 0.7)[:, None, None, None, None]
    smooth = torch.rand(1, generator=g).item() < 0.75
    x = torch.where(rough, mp4_like(x, smooth), x)
    noise = (torch.rand(b, generator=g) < 0.5)[:, None, None, None, None] * 1.5
    src = to_unit(x + noise * torch.randn(x.shape, generator=g))
    x = to_unit(x)
    return (src[:, :, 0], x[:, :, 0]) if frames == 1 else (src, x)


# ------------------------------------------------------------------- muon --


def orthogonalise(m):
    """Newton-Schulz towards U V^T for a stack of matrices [N,r,c]."""
    tall = m.shape[1] > m.shape[2]
    x = m.transpose(1, 2) if tall else m
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-9)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if tall else x


class Muon:
    """Momentum, orthogonalised for matrices; Adam for vectors. The update of a
    matrix is scaled to the size an Adam update would have, so one learning
    rate serves both. It needs far fewer steps than Adam here."""

    def __init__(self, params):
        self.p = params
        self.m = {k: torch.zeros_like(v) for k, v in params.items()}
        self.v = {k: torch.zeros_like(v) for k, v in params.items() if v.dim() < 2}
        self.t = 0
        self.groups = {}
        for k, v in params.items():
            if v.dim() >= 2:
                self.groups.setdefault((v.shape[0], v[0].numel()), []).append(k)

    @torch.no_grad()
    def step(self, lr, adam_lr=None):
        self.t += 1
        for (r, c), names in self.groups.items():
            names = [k for k in names if self.p[k].grad is not None]
            if not names:
                continue
            for k in names:
                self.m[k].lerp_(self.p[k].grad, 0.05)
            u = torch.stack([(0.95 * self.m[k] + 0.05 * self.p[k].grad).reshape(r, c) for k in names])
            u = orthogonalise(u) * (0.2 * math.sqrt(max(r, c)))
            for k, d in zip(names, u):
                self.p[k].mul_(1 - 0.01 * lr).add_(d.reshape(self.p[k].shape), alpha=-lr)
        for k, v in self.v.items():
            grad = self.p[k].grad
            if grad is None:
                continue
            self.m[k].lerp_(grad, 0.1)
            v.lerp_(grad * grad, 0.01)
            top = self.m[k] / (1 - 0.9 ** self.t)
            low = (v / (1 - 0.99 ** self.t)).sqrt_().add_(1e-8)
            self.p[k].addcdiv_(top, low, value=-(adam_lr or lr))
        for p in self.p.values():
            p.grad = None


# ---------------------------------------------------------------- trainer --

FIXED = ("quant_conv.weight", "quant_conv.bias")


def loss_of(p, src, dst, noise):
    z = encode(p, src)
    y = decode(p, z + noise)
    e = y.float() - dst
    return e.abs().mean() + 2 * (e * e).mean() + 1e-4 * z.float().square().mean()


def flat_taps(p):
    """The 2-D network inside the 3-D one, for the image stage."""
    return {k: (v[:, :, -1:].clone() if v.dim() == 5 and v.shape[3] == 3 else v.clone()) for k, v in p.items()}


def merge_taps(p, q):
    for k, v in q.items():
        if v.shape == p[k].shape:
            p[k] = v.clone()
        else:
            p[k][:, :, -1:] = v
    return p


def psnr_of(mse):
    return -10 * math.log10(max(mse, 1e-12) / 4)


@torch.no_grad()
def psnr(p, x):
    """Per-frame PSNR of [B,3,T,H,W] in [-1,1], and of the whole."""
    y = decode(p, encode(p, x)).clamp(-1, 1)
    e = (y - x).square()
    if x.dim() == 4:
        return [psnr_of(e.mean().item())], psnr_of(e.mean().item())
    return [psnr_of(v) for v in e.mean((0, 1, 3, 4)).tolist()], psnr_of(e.mean().item())


def schedule(u, warm=0.02):
    """Learning-rate factor at progress u in [0,1]: warm-up, then cosine."""
    return min(1.0, u / warm) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, u)))


class Trainer:
    """One stage: `frames` = 1 trains the 2-D network, more the whole one."""

    def __init__(self, p, frames, lr, size, seed, dev="cpu"):
        self.full, self.frames, self.lr, self.size = p, frames, lr, size
        q = flat_taps(p) if frames == 1 else p
        self.q = {k: v.clone().to(dev).requires_grad_(k not in FIXED) for k, v in q.items()}
        self.ema = {k: v.detach().clone() for k, v in self.q.items()}
        self.opt = Muon({k: v for k, v in self.q.items() if v.requires_grad})
        self.g = torch.Generator().manual_seed(seed)
        self.dev, self.n = dev, 0

    def one(self, u, speed):
        src, dst = training_pair(self.size, self.frames, speed, self.g)
        fmt = torch.channels_last if src.dim() == 4 else torch.channels_last_3d
        src, dst = src.to(self.dev).contiguous(memory_format=fmt), dst.to(self.dev)
        t = () if self.frames == 1 else (1 + (self.frames - 1) // 4,)
        noise = 0.05 * torch.randn(self.size, 16, *t, SIZE // 8, SIZE // 8, generator=self.g)
        with torch.autocast(self.dev, dtype=torch.bfloat16, enabled=self.dev != "cpu"):
            loss = loss_of(self.q, src, dst, noise.to(self.dev))
        loss.backward()
        self.opt.step(self.lr * schedule(u))
        self.n += 1
        keep = min(0.995, (1 + self.n) / (10 + self.n))
        with torch.no_grad():
            for k, v in self.ema.items():
                v.lerp_(self.q[k], 1 - keep)
        return loss.item()

    def weights(self):
        q = {k: v.detach().cpu() for k, v in self.ema.items()}
        return merge_taps({k: v.clone() for k, v in self.full.items()}, q) if self.frames == 1 else q

    def save(self, path, u):
        state = {"q": {k: v.detach().cpu() for k, v in self.q.items()}, "full": self.full,
                 "ema": self.ema, "m": self.opt.m, "v": self.opt.v, "t": self.opt.t,
                 "n": self.n, "u": u, "frames": self.frames, "g": self.g.get_state()}
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)

    def load(self, path):
        s = torch.load(path, map_location="cpu")
        self.full, self.n, self.opt.t = s["full"], s["n"], s["t"]
        for mine, theirs in ((self.q, s["q"]), (self.ema, s["ema"]), (self.opt.m, s["m"]), (self.opt.v, s["v"])):
            for k in mine:
                mine[k].data.copy_(theirs[k])
        self.g.set_state(s["g"])
        return s["u"]


def split_mix(seed):
    """splitmix64 in [0,1), as in draw_clips.c."""
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield ((z ^ (z >> 31)) >> 11) * 2.0 ** -53


STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))     # left, right, up, down


def demo_clips(frames, held_out, copies=1):
    """The clips of draw_clips.c before they become mp4, [N,3,T,H,W] in 0..255."""
    rows = []
    for i in range(216):
        ground, motion, colour, shape = i % 3, i // 3 % 4, i // 12 % 6, i // 72
        if ((shape + 2 * colour + 3 * motion + 3 * ground) % 9 == 0) != held_out:
            continue
        for copy in range(copies):
            u = split_mix(i * 64 + copy + 1)
            r, speed = 11 + 3 * next(u), 1.25 + 0.5 * next(u)
            x, y = 29 + 6 * next(u), 29 + 6 * next(u)
            vx, vy = speed * STEPS[motion][0], speed * STEPS[motion][1]
            rows.append((shape, x - vx * (frames - 1) / 2, y - vy * (frames - 1) / 2, vx, vy, r, 0.0,
                         *list(COLOURS.values())[colour], *list(GROUNDS.values())[ground]))
    t = torch.tensor(rows, dtype=torch.float64)
    return draw(*t[:, :7].T, t[:, 7:10], t[:, 10:], frames).float().add_(0.5).floor_()


def fixed_clips(frames):
    """The held-out clips in [-1,1]."""
    return to_unit(demo_clips(frames, True))


def run_stage(tr, minutes, path, start=0.0, log=print, slow=0.3):
    """Train for `minutes` of wall clock (the schedule follows the clock, since
    nobody knows how fast a shared machine is), saving as it goes."""
    clips = fixed_clips(tr.frames)[::3]
    clips = clips[:, :, 0] if tr.frames == 1 else clips
    t0, u, last, acc = time.time(), start, 0, []
    while u < 1:
        u = start + (1 - start) * (time.time() - t0) / (60 * minutes)
        acc.append(tr.one(min(u, 1), 1.5 * min(1.0, slow + 2 * u)))
        if time.time() - last > 120 or u >= 1:
            last = time.time()
            q = tr.ema if tr.frames == 1 else tr.weights()
            q = {k: v.to("cpu") for k, v in q.items()}
            frames, mean = psnr(q, clips)
            log(f"u {u:.3f} n {tr.n} loss {sum(acc) / len(acc):.4f} psnr {mean:.2f} "
                + " ".join(f"{v:.1f}" for v in frames), flush=True)
            acc = []
            tr.save(path, u)
    return tr.weights()
