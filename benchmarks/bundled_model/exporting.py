"""Turn a trained bag into the files that ship."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.bundled_model.batches import DEFAULT_TASK
from benchmarks.bundled_model.network import EPS, ROPE_BASE, Bag, Shape, rms
from benchmarks.bundled_model.places import cache
from benchmarks.bundled_model.training import Plan
from qvec.embedders.tensor_file import Tensor, write_tensors

MAX_TOKENS = 8192


def load_bag(name: str) -> Bag:
    """Load the last checkpoint of a training run."""
    saved = torch.load(cache() / f"{name}.pt", weights_only=False, map_location="cpu")
    bag = Bag(Shape(saved["model"]["embed"].shape[0], inner=saved["model"]["gate"].shape[0]))
    bag.load_state_dict(saved["model"])
    return bag.eval()


@torch.no_grad()
def finished(plans: Sequence[Plan]) -> Bag:
    """Load the mean of what plans with one start end with."""
    bags = [load_bag(plan.name) for plan in plans]
    ends = [bag.state_dict() for bag in bags]
    mean = {name: torch.stack([end[name] for end in ends]).mean(0) for name in ends[0]}
    bags[0].load_state_dict(mean)
    return bags[0]


@torch.no_grad()
def export(plans: Sequence[Plan], folder: Path) -> None:
    """Write the plans' mean: weights.safetensors (int8 rows with a scale each), tokenizer.json and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    bag = finished(plans)
    stored: dict[str, Tensor] = {}
    for key, tensor in bag.qwen3_state().items():
        if tensor.dim() == 2:
            stored[key], stored[f"{key}.scale"] = quantise(tensor.numpy())
        else:
            stored[key] = tensor.numpy()
    scale = stored["embed_tokens.weight.scale"]
    rounded = torch.from_numpy(stored["embed_tokens.weight"].astype(np.float32) * scale[:, None])
    keys = stored["layers.0.self_attn.k_proj.weight"] * stored["layers.0.self_attn.k_proj.weight.scale"][:, None]
    scores = bag.scores_by(torch.from_numpy(keys), rms(rounded, bag.input_norm))
    stored["token_weights"] = torch.exp(scores).numpy()
    stored["token_scales"] = scale * torch.rsqrt(rounded.pow(2).mean(-1) + EPS).numpy()
    stored["head_slopes"] = bag.shape.of_heads.numpy()
    write_tensors(folder / "weights.safetensors", stored)
    tokenizer = Tokenizer.from_file(str(cache() / "tokenizer.json"))
    (folder / "tokenizer.json").write_text(
        json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    config = _config(bag.shape) | {
        "default_preset": DEFAULT_TASK,
        "weights_sha256": _digest(folder / "weights.safetensors"),
        "tokenizer_sha256": _digest(folder / "tokenizer.json"),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def quantise(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round rows to int8 with a factor each."""
    scale = (np.abs(rows).max(1) / 127).astype(np.float32)
    scale[scale == 0] = 1
    return np.clip(np.rint(rows / scale[:, None]), -127, 127).astype(np.int8), scale


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["Qwen3Model"],
        "model_type": "qwen3",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": 1,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": MAX_TOKENS,
        "rms_norm_eps": EPS,
        "rope_theta": ROPE_BASE,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
