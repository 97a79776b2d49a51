"""The ways of embedding that are compared: each takes texts and returns unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from qvec.embedders.levers import Levers
from qvec.embedders.transformer import TransformerEmbedder

Way: TypeAlias = Callable[[Sequence[str]], np.ndarray]


def qvec_way(place: Path, *, device: str, dtype: str, levers: Levers | None = None, budget: int | None = None) -> Way:
    """Embed by qvec."""
    embedder = TransformerEmbedder(str(place), device=device, dtype=dtype, levers=levers, batch_tokens=budget)
    return embedder.encode_document


def sentence_ways(
    place: Path, sizes: Sequence[int], *, device: str, dtype: str, attention: str = "sdpa"
) -> dict[str, Way]:
    """Embed by sentence-transformers, at its default batch size and at others."""
    import torch
    from sentence_transformers import SentenceTransformer

    kwargs = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    model = SentenceTransformer(str(place), device=device, model_kwargs=kwargs)

    def way(size: int) -> Way:
        return lambda texts: model.encode(
            texts, batch_size=size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )

    return {f"sentence-transformers batch {size}": way(size) for size in sizes}


def tuned_sentence_ways(place: Path, sizes: Sequence[int], *, device: str, dtype: str) -> dict[str, Way]:
    """Embed by sentence-transformers as its best on CUDA: without cuDNN's attention, and flattened where it can be.

    cuDNN plans attention anew for each shape of a batch. Flattening needs the package flash-attn.
    """
    import torch

    def without_cudnn(way: Way) -> Way:
        def embed(texts: Sequence[str]) -> np.ndarray:
            torch.backends.cuda.enable_cudnn_sdp(False)
            try:
                return way(texts)
            finally:
                torch.backends.cuda.enable_cudnn_sdp(True)

        return embed

    padded = sentence_ways(place, sizes, device=device, dtype=dtype)
    ways = {f"{name} without cuDNN": without_cudnn(way) for name, way in padded.items()}
    if find_spec("flash_attn") is not None and dtype != "float32":
        flat = sentence_ways(place, sizes, device=device, dtype=dtype, attention="flash_attention_2")
        ways |= {f"{name} flattened": way for name, way in flat.items()}
    return ways


def plain_way(place: Path, size: int, *, device: str, dtype: str) -> Way:
    """Embed as the model's card shows: transformers, batches in the order of the texts, padded on the left."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(place), padding_side="left")
    model: Any = AutoModel.from_pretrained(str(place), dtype=getattr(torch, dtype)).eval().to(device)

    def embed(texts: Sequence[str]) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for at in range(0, len(texts), size):
                taken = tokenizer(list(texts[at : at + size]), padding=True, return_tensors="pt").to(device)
                taken.pop("token_type_ids", None)
                hidden = model(**taken, use_cache=False).last_hidden_state[:, -1]
                parts.append(torch.nn.functional.normalize(hidden.float(), dim=1).cpu().numpy())
        return np.concatenate(parts)

    return embed
