# SPDX-License-Identifier: Apache-2.0
"""umt5: text rows from transformers' UMT5EncoderModel."""

import copy
import os

import torch
from transformers import UMT5Config, UMT5EncoderModel

from common import case_dir, randint, randn, rel_l2, save, save_json, tidy_configs, versions


def make_model(seed, **config):
    model = UMT5EncoderModel._from_config(UMT5Config(**config), attn_implementation="eager").float().train(False)
    with torch.no_grad():
        for name, p in model.named_parameters():
            z = randn(seed, name, *p.shape)
            if "layer_norm" in name:
                p.copy_(1.0 + 0.3 * z)
            elif "relative_attention_bias" in name or name == "shared.weight":
                p.copy_(z)
            elif name.endswith(("SelfAttention.q.weight", "SelfAttention.k.weight")):
                p.copy_(z * (p.shape[1] * model.config.d_kv ** 0.5) ** -0.5)
            else:
                p.copy_(z * p.shape[1] ** -0.5)
    return model


def save_model(model, d, **kw):
    model.save_pretrained(d, **kw)
    c = model.config
    # The keys and values of the published file, tie_word_embeddings false among them.
    save_json(os.path.join(d, "config.json"), {
        "architectures": ["UMT5EncoderModel"], "classifier_dropout": 0.0, "d_ff": c.d_ff, "d_kv": c.d_kv,
        "d_model": c.d_model, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1,
        "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True,
        "is_gated_act": True, "layer_norm_epsilon": 1e-06, "model_type": "umt5", "num_decoder_layers": c.num_layers,
        "num_heads": c.num_heads, "num_layers": c.num_layers, "output_past": True, "pad_token_id": 0,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "scalable_attention": True,
        "tie_word_embeddings": False, "tokenizer_class": "T5Tokenizer", "torch_dtype": "float32",
        "use_cache": True, "vocab_size": c.vocab_size})
    tidy_configs(d)


def rows(model, ids):
    return model(input_ids=ids[None].long()).last_hidden_state[0]


def padded_rows(model, ids, length):
    full = torch.zeros(1, length, dtype=torch.long)
    full[0, :len(ids)] = ids
    mask = (torch.arange(length) < len(ids)).long()[None]
    return model(input_ids=full, attention_mask=mask).last_hidden_state[0, :len(ids)]


def case(out, name, seed, config, lengths, **save_kw):
    d = case_dir(out, name)
    model = make_model(seed, **config)
    save_model(model, os.path.join(d, "text_encoder"), **save_kw)
    m64 = copy.deepcopy(model).double()
    # The reference must read its own folder, and read the embedding in it (transformers PR 43880).
    again = UMT5EncoderModel.from_pretrained(os.path.join(d, "text_encoder"), dtype=torch.float32).train(False)
    inputs, outputs, noise, pad = {}, {}, {}, {}
    with torch.no_grad():
        for i, n in enumerate(lengths):
            ids = randint(seed, f"ids.{i}", 2, config["vocab_size"], n).int()
            ids[-1] = 1
            inputs[f"ids.{i}"] = ids
            out32 = rows(model, ids)
            outputs[f"rows.{i}"] = out32
            noise[f"rows.{i}"] = rel_l2(out32, rows(m64, ids))
            pad[f"rows.{i}"] = rel_l2(padded_rows(model, ids, 512), out32)
            assert rel_l2(rows(again, ids), out32) < 2e-6, "the saved model is not the model"
        other = rows(model, torch.tensor([5, 1]))
        assert rel_l2(rows(model, torch.tensor([6, 1])), other) > 0.1, "rows do not depend on ids"
    save(os.path.join(d, "in.safetensors"), inputs)
    save(os.path.join(d, "out.safetensors"), outputs)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "lengths": lengths, "ids.N": "i32 [n], last id is </s> = 1", "rows.N": "[n,d_model]",
        "versions": versions(), "rel_l2_float32_from_float64": noise, "rel_l2_padded_to_512_from_unpadded": pad})
    print(name, noise, pad)


def small(out):
    # d_kv*heads is not d_model here, as nothing in the format promises it.
    case(out, "umt5", 31, dict(vocab_size=1000, d_model=40, d_kv=8, d_ff=100, num_heads=4, num_layers=2),
         [1, 2, 17, 130, 300], max_shard_size="200KB")


def large(out):
    case(out, "umt5_big", 32, dict(vocab_size=2000, d_model=512, d_kv=64, d_ff=1280, num_heads=8, num_layers=4),
         [1, 64, 512])
