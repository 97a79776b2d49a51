"""What embedding costs on a machine: tokens a second, time per stage, padding, and the share of the device's peak."""

from __future__ import annotations

import math
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qvec.errors import InvalidInputError

if TYPE_CHECKING:
    from qvec.embedders.transformer import TransformerEmbedder

# Dense bfloat16 peaks from the makers' data sheets, TFLOP/s. GH200 comes before H200, whose name it holds.
_PEAKS = {
    "GH200": 989.0, "H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "B200": 2250.0, "A100": 312.0, "A10G": 70.0,
    "L40S": 362.0, "L4": 121.0, "RTX 4090": 165.0, "RTX 3090": 71.0,
}  # fmt: skip
_CHARACTERS_PER_TOKEN = 3.4
_SIGMA = 0.9
_SHORTEST = 6
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of embedding the texts, the best of several passes.

    Attributes:
        name: the way.
        seconds: of the pass.
        tokens: embedded, special tokens included, padding not.
        texts: embedded.
        padding: share of the computed tokens that were padding.
        stages: seconds of each stage, where they were told apart.
    """

    name: str
    seconds: float
    tokens: int
    texts: int
    padding: float
    stages: dict[str, float]

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, padding not counted."""
        return self.tokens / self.seconds


def sample_texts(count: int, *, mean: int, most: int, seed: int) -> list[str]:
    """Cut texts of lognormal length from the Python installation's sources.

    Args:
        count: how many.
        mean: tokens on average, about.
        most: tokens at most, about.
        seed: of the lengths and places.

    Raises:
        InvalidInputError: the installation holds no sources.
    """
    chance = np.random.default_rng(seed)
    logs = chance.normal(math.log(mean) - _SIGMA**2 / 2, _SIGMA, count)
    sizes = (np.clip(np.exp(logs), _SHORTEST, most) * _CHARACTERS_PER_TOKEN).astype(int)
    needed = int(sizes.max(initial=0)) * 4
    source = ""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source += path.read_text(encoding="utf-8", errors="replace").replace("\0", " ")
        if len(source) > max(needed, 4_000_000):
            break
    if len(source) < needed or not source:
        raise InvalidInputError("this Python holds too few sources to cut texts from: give texts of your own")
    places = [int(chance.integers(0, len(source) - size)) for size in sizes]
    return [source[place : place + size] for place, size in zip(places, sizes, strict=True)]


def model_flops(config: Any, lengths: Sequence[int]) -> float:
    """Count the floating point operations of a model's layers over texts, two for each multiplication with addition.

    Nothing is left out that a forward may save: products 2 x weights x tokens, attention 4 x heads x width for each
    pair of tokens that see each other. Gated feed-forward parts are counted where the architecture has them.
    """
    hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    causal = getattr(config, "num_key_value_heads", None) is not None and getattr(config, "is_causal", True)
    feed = (3 if getattr(config, "hidden_act", "") == "silu" else 2) * hidden * int(config.intermediate_size)
    weights = 2 * hidden * heads * width + 2 * hidden * key_heads * width + feed
    pairs = sum(length * (length + 1) / 2 if causal else float(length) ** 2 for length in lengths)
    return float(config.num_hidden_layers) * (2.0 * weights * sum(lengths) + 4.0 * heads * width * pairs)


def known_peak(device: Any) -> float | None:
    """Return a CUDA device's dense bfloat16 peak from its maker's data sheet, in TFLOP/s; None for others."""
    if device.type != "cuda":
        return None
    import torch

    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in _PEAKS.items() if key in name), None)


def matmul_rate(device: Any, dtype: Any, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measure how fast the device multiplies large matrices, in TFLOP/s, the best of some tries."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    with torch.inference_mode():
        best = min(timed(lambda: torch.mm(left, right), device, clock=clock) for _ in range(_TRIES))
    return float(2.0 * size**3 / best / 1e12)


def timed(work: Callable[[], object], device: Any, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of a piece of work, the device's own included."""
    _wait(device)
    begin = clock()
    work()
    _wait(device)
    return clock() - begin


def measure(embedder: TransformerEmbedder, texts: Sequence[str], *, name: str = "qvec", passes: int = 1) -> Measured:
    """Embed texts as documents, and keep the fastest pass.

    The stages are of a pass of their own, in which none overlaps another.
    """
    device = embedder.device
    seconds = min(timed(lambda: embedder.encode_document(texts), device) for _ in range(passes))
    begin = time.perf_counter()
    sequences = embedder.tokenize(texts)
    tokenized = time.perf_counter() - begin
    lengths = [len(ids) for ids in sequences]
    runner = embedder.runner
    batches = runner.forward.batches(lengths, runner.budget)
    parts: list[Any] = []
    forward = timed(lambda: parts.extend(runner(sequences, dim=embedder.dim)[1]), device)
    copied = timed(lambda: [part.cpu() for part in parts], device)
    computed = sum(runner.forward.cost([lengths[at] for at in batch]) for batch in batches)
    return Measured(
        name=name,
        seconds=seconds,
        tokens=sum(lengths),
        texts=len(texts),
        padding=1 - sum(lengths) / computed,
        stages={"tokenize": tokenized, "forward": forward, "copy": copied},
    )


def measure_sentence_transformer(
    model: Any, texts: Sequence[str], lengths: Sequence[int], *, batch_size: int, device: Any, passes: int = 1
) -> Measured:
    """Embed the same texts by a `SentenceTransformer`, and keep the fastest pass.

    Args:
        model: it.
        texts: the texts.
        lengths: their tokens.
        batch_size: texts in a batch.
        device: its torch device.
        passes: how often.
    """

    def encode() -> None:
        model.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)

    seconds = min(timed(encode, device) for _ in range(passes))
    # It sorts by characters, the longest text first.
    order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    computed = sum(max(lengths[at] for at in batch) * len(batch) for batch in batches)
    name = f"sentence-transformers, batches of {batch_size}"
    return Measured(name, seconds, sum(lengths), len(texts), 1 - sum(lengths) / computed, {})


def _wait(device: Any) -> None:
    if device.type == "cpu":
        return
    import torch

    (torch.cuda if device.type == "cuda" else torch.mps).synchronize()
