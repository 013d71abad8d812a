# SPDX-License-Identifier: Apache-2.0
"""tokenizer_*: SentencePiece models of umT5's shape, and the ids that the HuggingFace fast tokenizer gives on them."""

import os
import shutil

import sentencepiece
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import T5Converter

import texts
from common import case_dir, save_json, save_jsonl, versions
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

MAX_LENGTH = 512
EXTRA_IDS = 10


def train(path, seed, vocab_size, byte_fallback):
    """nmt_nfkc is SentencePiece's default charsmap; ids as in umT5: pad 0, eos 1, bos 2, unk 3."""
    with open(path, "wb") as f:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts.corpus(seed)), model_writer=f, model_type="unigram", vocab_size=vocab_size,
            character_coverage=0.98, normalization_rule_name="nmt_nfkc", byte_fallback=byte_fallback, num_threads=1,
            pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="</s>", bos_piece="<s>",
            unk_piece="<unk>", hard_vocab_limit=False, minloglevel=2)


class slow_tokenizer:
    """What T5Converter asks of the slow tokenizer it converts."""

    def __init__(self, vocab_file):
        self.vocab_file, self._extra_ids, self.legacy, self.add_prefix_space = vocab_file, EXTRA_IDS, True, True

    def convert_tokens_to_ids(self, token):
        return {"<pad>": 0, "</s>": 1, "<s>": 2, "<unk>": 3}[token]


def fast(spiece):
    """transformers' own conversion of a spiece.model. Byte fallback is lost in it, as in the published tokenizer."""
    return wrap(T5Converter(slow_tokenizer(spiece)).converted())


def wrap(tokenizer):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
                                   extra_special_tokens=[f"<extra_id_{i}>" for i in range(EXTRA_IDS)])


def layout_of_2023(spiece):
    """The conversion of transformers 4.31, by which umT5's tokenizer.json was made: no stripping at the end."""
    t = T5Converter(slow_tokenizer(spiece)).converted()
    charsmap = t.normalizer[0]
    t.normalizer = normalizers.Sequence([charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return wrap(t)


def ids_of(tok, s):
    return tok(s, max_length=MAX_LENGTH, truncation=True, padding=False).input_ids


def strings(seed, with_raw):
    """500 strings as prompt_clean leaves them, which is all a pipeline ever tokenizes; then raw ones, marked."""
    built = texts.build(seed, 900)
    cleaned = list(dict.fromkeys(prompt_clean(s) for s in built))[:500]
    raw = [s for s in built[:350] if with_raw and prompt_clean(s) != s and len(s) < 200]
    return [(s, False) for s in cleaned] + [(s, True) for s in raw]


def case(out, name, seed, vocab_size, byte_fallback, keep_json):
    d = case_dir(out, name)
    t = os.path.join(d, "tokenizer")
    shutil.rmtree(t, ignore_errors=True)
    os.makedirs(t)
    spiece = os.path.join(t, "spiece.model")
    train(spiece, seed, vocab_size, byte_fallback)
    tok, old = fast(spiece), layout_of_2023(spiece)
    tok.save_pretrained(t)
    again = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(os.path.join(t, "tokenizer.json")))
    save_json(os.path.join(t, "tokenizer_config.json"), {
        "additional_special_tokens": [f"<extra_id_{i}>" for i in range(EXTRA_IDS)], "clean_up_tokenization_spaces": True,
        "eos_token": "</s>", "extra_ids": EXTRA_IDS, "model_max_length": 512, "pad_token": "<pad>", "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"})
    save_json(os.path.join(t, "special_tokens_map.json"), {
        "additional_special_tokens": [f"<extra_id_{i}>" for i in range(EXTRA_IDS)],
        "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
    sp = sentencepiece.SentencePieceProcessor(model_file=spiece)
    rows, differ = [], {"sentencepiece": [], "layout_of_2023": []}
    for i, (s, raw) in enumerate(strings(seed, with_raw=not byte_fallback)):
        ids = ids_of(tok, s)
        assert ids == again.encode(s)[:len(ids) - 1] + [1] and len(ids) <= MAX_LENGTH and ids[-1] == 1
        row = {"text": s, "ids": ids}
        if raw:
            row["raw"] = True
        if sp.encode(s)[:MAX_LENGTH - 1] + [1] != ids:
            differ["sentencepiece"].append(i)
        if ids_of(old, s) != ids:
            differ["layout_of_2023"].append(i)
            row["ids_2023"] = ids_of(old, s)
        rows.append(row)
    if not keep_json:
        os.remove(os.path.join(t, "tokenizer.json"))
    save_jsonl(os.path.join(d, "ids.jsonl"), rows)
    save_json(os.path.join(d, "case.json"), {
        "case": name, "seed": seed, "pieces": sp.get_piece_size(), "extra_ids": EXTRA_IDS, "byte_fallback": byte_fallback,
        "raw": "a string that prompt_clean would change: control characters, odd whitespace, not NFC",
        "ids": "fast tokenizer converted by transformers' T5Converter; max_length 512 with </s> kept, no padding",
        "ids_2023": "where the tokenizer.json layout of transformers 4.31 (no right strip) gives other ids",
        "rows_that_differ": differ, "sentencepiece": sentencepiece.__version__, "versions": versions()})
    print(name, sp.get_piece_size(), "pieces,", len(rows), "strings,", sum("raw" in r for r in rows), "raw; differ:", {k: len(v) for k, v in differ.items()},
          "with unk", sum(3 in r["ids"] for r in rows))


def small(out, keep_json=False):
    case(out, "tokenizer_plain", 41, 800, False, keep_json)
    case(out, "tokenizer_bytes", 42, 900, True, keep_json)


def large(out):
    small(out, keep_json=True)
