"""Random models of the published shapes, as folders that qvec and sentence-transformers load alike."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import NamedTuple

END = "<|endoftext|>"
WORDS = 20_000
PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


class Shape(NamedTuple):
    """Sizes of a Qwen3."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    width: int
    feed: int


SHAPES = {
    "small": Shape(256, 3, 4, 2, 64, 512),
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072),
    "4B": Shape(2560, 36, 32, 8, 128, 9728),
    "8B": Shape(4096, 36, 32, 8, 128, 12288),
}


def write_model(folder: Path, name: str, *, device: str, dtype: str, seed: int = 0) -> Path:
    """Write a random model of a shape, with a small tokenizer of its own, unless it is there."""
    place = folder / f"qwen3-{name}-{dtype}"
    if (place / "modules.json").exists():
        return place
    import torch
    from transformers import Qwen3Config, Qwen3Model

    shape = SHAPES[name]
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.width,
        max_position_embeddings=32_768,
        rope_theta=1_000_000,
        tie_word_embeddings=True,
        eos_token_id=0,
        bos_token_id=0,
    )
    torch.manual_seed(seed)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = Qwen3Model(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(place)
    _write_tokenizer(place)
    _write_sentence_files(place, shape.hidden)
    return place


def _write_tokenizer(place: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:120]
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(path) for path in sources], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 0)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=END, eos_token=END, padding_side="left", model_max_length=32_768
    )
    wrapped.save_pretrained(place)


def _write_sentence_files(place: Path, hidden: int) -> None:
    (place / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_lasttoken": True, "include_prompt": True}
    (place / "1_Pooling" / "config.json").write_text(json.dumps({**pooling, "pooling_mode_mean_tokens": False}))
    prompts = {"prompts": {"query": PROMPT, "document": ""}, "similarity_fn_name": "cosine"}
    (place / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    (place / "modules.json").write_text(json.dumps(modules))
