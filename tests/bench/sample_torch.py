#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One picture by diffusers' WanPipeline on the CPU, from a cold process: sample_torch.py MODEL OUT.png STEPS

bf16 for text encoder and transformer, fp32 for the VAE, as its documentation has it.  Prints the seconds of each
part and the resident memory at most."""
import resource
import sys
import time

start = time.time()
import torch  # noqa: E402
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline  # noqa: E402
from diffusers import WanTransformer3DModel  # noqa: E402
from transformers import AutoTokenizer, UMT5EncoderModel  # noqa: E402

model, out, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
spent = {}
last = start


def part(name):
    global last
    now = time.time()
    spent[name] = spent.get(name, 0) + now - last
    last = now


torch.set_grad_enabled(False)
part("import")
pipe = WanPipeline(
    tokenizer=AutoTokenizer.from_pretrained(model + "/tokenizer"),
    text_encoder=UMT5EncoderModel.from_pretrained(model + "/text_encoder", dtype=torch.bfloat16),
    transformer=WanTransformer3DModel.from_pretrained(model + "/transformer", torch_dtype=torch.bfloat16),
    vae=AutoencoderKLWan.from_pretrained(model + "/vae", torch_dtype=torch.float32),
    scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0))
pipe.set_progress_bar_config(disable=True)
part("load")
embeds, negative = pipe.encode_prompt("a red circle moves to the left", "", True)
part("text")
latents = pipe(prompt_embeds=embeds, negative_prompt_embeds=negative, height=480, width=832, num_frames=1,
               num_inference_steps=steps, guidance_scale=5.0, output_type="latent").frames
part("steps")
picture = pipe.vae.decode(latents.float(), return_dict=False)[0]
pipe.video_processor.postprocess_video(picture, output_type="pil")[0][0].save(out)
part("VAE and files")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("diffusers: %.1f s: %s; at most %d MiB" % (
    time.time() - start, ", ".join("%s %.1f" % p for p in spent.items()), peak))
