"""Small random models of true architectures, as folders that the hub would hand out.

The Qwen3 folder has the published layout of Qwen3-Embedding and, from the shared data, its true tokenizer; only the
weights are random and the layers few. Its scores mean nothing; its tokens, prompts, pooling and arithmetic do.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.conftest import shared_data

EOS = 151643
QWEN_QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
QWEN_DIM = 96
BERT_DIM = 48
BERT_WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f g query passage read file write the code ##s ##ing : . , ( ) 文 件"
)

_QWEN3: dict[str, Any] = {
    "vocab_size": 151_669,
    "hidden_size": QWEN_DIM,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 32_768,
    "rope_theta": 1_000_000,
    "initializer_range": 0.3,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
}


def write_qwen3(folder: Path, *, seed: int = 0) -> Path:
    """Write a random two-layer Qwen3 embedding model with the true tokenizer; skip the test where that is missing."""
    data = shared_data("qwen_tokenizer")
    import torch
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    Qwen3Model(Qwen3Config(**_QWEN3, tie_word_embeddings=True)).eval().save_pretrained(folder)
    _write_qwen_tokenizer(folder, data)
    prompts = {"query": QWEN_QUERY, "document": ""}
    write_sentence_transformer(folder, pooling="lasttoken", dim=QWEN_DIM, prompts=prompts)
    return folder


def write_qwen3_reranker(folder: Path, *, tied: bool = True, seed: int = 0) -> Path:
    """Write a random two-layer Qwen3-Reranker with the true tokenizer; skip the test where that is missing."""
    data = shared_data("qwen_tokenizer")
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    Qwen3ForCausalLM(Qwen3Config(**_QWEN3, tie_word_embeddings=tied)).eval().save_pretrained(folder)
    _write_qwen_tokenizer(folder, data, marks_end=False)
    return folder


def write_bert(folder: Path, *, pooling: str, prompts: dict[str, str] | None = None, seed: int = 0) -> Path:
    """Write a random two-layer BERT with a handful of words; pooling is sentence-transformers' word for it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    words = BERT_WORDS.split()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=BERT_DIM,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    BertModel(config).eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    write_sentence_transformer(folder, pooling=pooling, dim=BERT_DIM, prompts=prompts or {})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    return folder


def write_sentence_transformer(folder: Path, *, pooling: str, dim: int, prompts: dict[str, str]) -> None:
    """Write the files by which sentence-transformers knows a model, in the layout that the hub's models have."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "lasttoken"}
    flags = {f"pooling_mode_{flag}": pooling == mode for flag, mode in modes.items()}
    (folder / "2_Normalize").mkdir()
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": dim, **flags, "include_prompt": True})
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a file."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Change some keys of a JSON object in a file."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _write_qwen_tokenizer(folder: Path, data: Path, *, marks_end: bool = True) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    special = json.loads((data / "special_tokens.json").read_text(encoding="utf-8"))
    vocab = json.loads(gzip.decompress((data / "vocab.json.gz").read_bytes()))
    lines = gzip.decompress((data / "merges.txt.gz").read_bytes()).decode().split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(special["pretokenizer_regex"]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token, entry in special["added_tokens"].items():
        tokenizer.add_tokens([AddedToken(token, special=entry["special"], normalized=False)])
    end = special["embedding_suffix"]
    byte_level = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    template = processors.TemplateProcessing(single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, EOS)])
    tokenizer.post_processor = processors.Sequence([byte_level, template]) if marks_end else byte_level
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": special["eos_token"],
        "pad_token": special["pad_token"],
        "model_max_length": 131_072,
        "add_prefix_space": False,
    }
    write_json(folder / "tokenizer_config.json", settings)
