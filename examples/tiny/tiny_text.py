# SPDX-License-Identifier: Apache-2.0
"""The demo's tokenizer (SentencePiece Unigram) and its random text encoder."""

import io
import itertools
import json
import os

import torch

# The words of the demo, in the order draw_clips.c uses.
SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow", "magenta", "white")
MOTIONS = ("to the left", "to the right", "up", "down")
GROUNDS = ("black", "grey", "navy")


def captions():
    return [f"a {c} {s} moves {m} on a {g} background"
            for s, c, m, g in itertools.product(SHAPES, COLOURS, MOTIONS, GROUNDS)]


# Written for this file; only there to give the trainer a varied alphabet.
PROSE = """
The quick brown fox jumps over the lazy dog while seven wizards boxed it up.
A camera follows a small boat across a calm lake in the early morning light.
Two children are running along the beach, and a kite rises slowly above them.
Close-up of a hand writing a letter; the ink is blue and the paper is yellow.
An old train leaves the station, steam drifting over the platform and the people.
What happens when the wind stops? The leaves fall, one after another, to the ground.
A cat sleeps on a warm window sill. Outside, rain runs down the glass.
The city at night: cars, neon signs, bridges, reflections in the river below.
Slow motion shot of coffee being poured into a white cup on a wooden table.
In the mountains, clouds cast moving shadows over green meadows and grey rocks.
A dancer turns on an empty stage, her red dress opening like a flower.
He said: "We never thought it would work", but it did, in 1969 and again in 2024.
Bright, quality, detailed, static, blurred, overexposed, subtitles, worst, low, ugly.
Numbers such as 0 1 2 3 4 5 6 7 8 9 10 16 24 30 64 100 480 832 are read as they are.
An orange square rotates, a purple circle grows, a pink star shrinks, a brown line bends.
The object enters from the left, crosses the middle, and leaves through the right side.
Something moves upwards, then downwards, then it stays where it is for a moment.
They walk through a forest of tall pine trees in winter; snow covers everything.
A robot picks up a glass ball carefully and places it inside a cardboard box.
Fireworks over the harbour, people cheering, the sky changing colour every second.
Underwater, a turtle swims past the coral, followed by hundreds of silver fish.
It's a portrait of a young woman smiling; she's looking straight into the lens.
The background should be plain, with a single shape, and no camera movement at all.
From above we see fields, roads, houses, and a long shadow travelling with the sun.
Please describe the scene: who is there, what do they do, where, when and how?
Ein roter Kreis bewegt sich nach rechts vor einem grauen Hintergrund.
Über den Dächern der Stadt fliegt langsam ein großer weißer Vogel.
Un cercle rouge se déplace vers la droite sur un fond gris, très lentement.
L'été, les élèves vont à la mer; où êtes-vous allés hier après-midi?
Un círculo rojo se mueve hacia la derecha sobre un fondo gris. ¿Qué más?
El niño pequeño corre por la montaña con su perro marrón y su cámara.
Красный круг движется вправо на сером фоне, медленно и ровно.
Поезд уходит со станции, люди машут руками, идёт снег.
一个红色的圆形在灰色背景上向右移动。
镜头缓慢推进,一只猫在窗台上睡觉,外面下着雨。
赤い円が灰色の背景の上を右へゆっくり動きます。カメラは動きません。
빨간 원이 회색 배경 위에서 오른쪽으로 움직입니다.
دائرة حمراء تتحرك إلى اليمين على خلفية رمادية.
Ένας κόκκινος κύκλος κινείται δεξιά σε γκρι φόντο.
लाल वृत्त धूसर पृष्ठभूमि पर दाईं ओर चलता है।
""".strip().split("\n")

VOCAB = 1000


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False, sort_keys=True)
        f.write("\n")


def corpus():
    """SentencePiece proposes a piece only when it starts two different words,
    and in so small a text most words have no relatives: punctuation after each
    word stands in for them, so that whole words become pieces."""
    words = sorted({w.strip(".,:;?!\"") for line in captions() + PROSE for w in line.split()})
    return captions() + PROSE * 6 + [w + mark for w in words for mark in (",", ".", "?", "!")]


def train_spiece(path):
    import sentencepiece as spm
    out = io.BytesIO()
    lines = corpus()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="unigram",
        vocab_size=VOCAB, hard_vocab_limit=False, byte_fallback=True,
        character_coverage=1.0, normalization_rule_name="nmt_nfkc",
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>",
        num_threads=1, minloglevel=2)
    with open(path, "wb") as f:
        f.write(out.getvalue())


def write_fast(spiece, path):
    """tokenizer.json with the same pieces and normaliser as spiece.model."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    m = pb.ModelProto()
    with open(spiece, "rb") as f:
        m.ParseFromString(f.read())
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in m.pieces], unk_id=3, byte_fallback=True))
    t.normalizer = normalizers.Sequence([
        normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap),
        normalizers.Strip(left=True, right=True),
        normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                     special_tokens=[("</s>", 1)])
    t.add_special_tokens(["<pad>", "</s>", "<s>", "<unk>"])
    t.save(path)
    return t.get_vocab_size()


def make_tokenizer(folder):
    os.makedirs(folder, exist_ok=True)
    spiece = os.path.join(folder, "spiece.model")
    train_spiece(spiece)
    n = write_fast(spiece, os.path.join(folder, "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(os.path.join(folder, "special_tokens_map.json"), names)
    write_json(os.path.join(folder, "tokenizer_config.json"), {
        **names, "additional_special_tokens": [], "clean_up_tokenization_spaces": False,
        "extra_ids": 0, "model_max_length": 512, "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer"})
    return n


# ----------------------------------------------------------- text encoder --


def text_config(vocab):
    return {
        "architectures": ["UMT5EncoderModel"], "classifier_dropout": 0.0,
        "d_ff": 128, "d_kv": 16, "d_model": 64, "decoder_start_token_id": 0,
        "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
        "is_encoder_decoder": True, "is_gated_act": True, "layer_norm_epsilon": 1e-06,
        "model_type": "umt5", "num_decoder_layers": 2, "num_heads": 4, "num_layers": 2,
        "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128,
        "relative_attention_num_buckets": 32, "scalable_attention": True,
        "tie_word_embeddings": False, "tokenizer_class": "T5Tokenizer",
        "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": (vocab + 63) // 64 * 64}


def text_weights(cfg, seed=7):
    """Random weights. The scales keep the residual stream led by the word's own
    vector (so that words stay apart), with attention adding some context."""
    g = torch.Generator().manual_seed(seed)
    d, f, heads, kv = cfg["d_model"], cfg["d_ff"], cfg["num_heads"], cfg["d_kv"]
    normal = lambda rows, cols, std: (std * torch.randn(rows, cols, generator=g)).to(torch.bfloat16)
    ones = lambda: torch.ones(d, dtype=torch.bfloat16)
    w = {"shared.weight": normal(cfg["vocab_size"], d, 1.0)}
    for i in range(cfg["num_layers"]):
        a, n = f"encoder.block.{i}.layer.0.", f"encoder.block.{i}.layer.1."
        for name, rows, cols, std in (("q", heads * kv, d, 0.06), ("k", heads * kv, d, 0.06),
                                      ("v", heads * kv, d, 0.125), ("o", d, heads * kv, 0.06)):
            w[a + f"SelfAttention.{name}.weight"] = normal(rows, cols, std)
        w[a + "SelfAttention.relative_attention_bias.weight"] = normal(32, heads, 0.5)
        w[a + "layer_norm.weight"] = ones()
        w[n + "DenseReluDense.wi_0.weight"] = normal(f, d, 0.125)
        w[n + "DenseReluDense.wi_1.weight"] = normal(f, d, 0.125)
        w[n + "DenseReluDense.wo.weight"] = normal(d, f, 0.05)
        w[n + "layer_norm.weight"] = ones()
    w["encoder.final_layer_norm.weight"] = ones()
    return w


def make_text_encoder(folder, vocab):
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    cfg = text_config(vocab)
    write_json(os.path.join(folder, "config.json"), cfg)
    save_file(text_weights(cfg), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
