"""Run the ways on the same texts in turn, and tell what each took."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embed.shapes import PROMPT
from benchmarks.embed.ways import Way, plain_way, qvec_way, sentence_ways, tuned_sentence_ways
from qvec.embedders.levers import default_levers
from qvec.embedders.loading import free_bytes
from qvec.embedders.measuring import matmul_rate, model_flops, sample_texts
from qvec.embedders.transformer import TransformerEmbedder

COLUMNS = [
    "set",
    "way",
    "texts",
    "tokens",
    "seconds",
    "cpu_seconds",
    "tokens_per_second",
    "mfu",
    "qvec_is_times",
    "padding",
]


def compare(place: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Compare qvec with the others."""
    kinds = {"device": options.device, "dtype": options.dtype}
    texts = chosen_texts(options)
    lengths, _ = describe(place, texts)
    # Plain transformers has no batch size of its own; on long texts only one at a time fits.
    plain = 32 if options.which == "short" else 1
    sizes, left_out = sizes_that_fit(options.sizes, lengths, device_of(options.device))
    ways: dict[str, Way] = {"qvec": qvec_way(place, **kinds)}
    ways |= sentence_ways(place, sizes, **kinds)
    if options.device == "cuda":
        ways |= tuned_sentence_ways(place, sizes, **kinds)
    ways[f"transformers batch {plain}"] = plain_way(place, plain, **kinds)
    longest_first = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    padding = {name: 0.0 if "flattened" in name else wasted(lengths, longest_first, size_of(name)) for name in ways}
    padding |= {"qvec": 0.0, f"transformers batch {plain}": wasted(lengths, list(range(len(texts))), plain)}
    rows = run(place, ways, texts, options)
    told = [row | {"padding": padding[str(row["way"])]} for row in rows]
    return told + [
        {"set": options.which, "shape": options.shape, "way": f"sentence-transformers batch {size}", "left_out": why}
        for size, why in left_out.items()
    ]


def chosen_texts(options: argparse.Namespace) -> list[str]:
    """Cut the short texts, lognormal with a mean of about 120 tokens, or the long ones, 2,000 to 32,000 tokens."""
    if options.which == "short":
        return sample_texts(options.n, mean=120, most=1024, seed=options.seed)
    texts = sample_texts(options.n, mean=8192, most=30_000, seed=options.seed)
    return [text if len(text) > 7000 else (text + "\n") * (7000 // len(text) + 1) for text in texts]


def sizes_that_fit(sizes: Sequence[int], lengths: Sequence[int], device: Any) -> tuple[list[int], dict[int, str]]:
    """Leave out batches whose padded attention mask, a byte and a float for each pair of tokens, would not fit."""
    free = free_bytes(device)
    needed = {size: 5 * min(size, len(lengths)) * max(lengths) ** 2 for size in sizes}
    over = {
        size: f"its mask needs {needed[size] / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"
        for size in sizes
        if free is not None and min(size, len(lengths)) > 1 and needed[size] > free / 2
    }
    return [size for size in sizes if size not in over], over


def wasted(lengths: Sequence[int], order: Sequence[int], size: int) -> float:
    """Return the share of the computed tokens that is padding, for texts in an order and in batches of a size."""
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    return 1 - sum(lengths) / sum(len(batch) * max(lengths[at] for at in batch) for batch in batches)


def size_of(way: str) -> int:
    """Read the batch size out of a way's name; qvec has none."""
    return int(way.split("batch ")[1].split()[0]) if "batch " in way else 1


def levers(place: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Switch one lever at a time, on texts on which it can act."""
    base = default_levers(options.device)
    kinds = {"device": options.device, "dtype": options.dtype}
    documents = sample_texts(options.n, mean=120, most=1024, seed=options.seed)
    queries = [text[:50] for text in documents]
    ways = {"qvec": qvec_way(place, **kinds)}
    rows: list[dict[str, object]] = []
    names = (
        ["packed", "compiled", "int8"]
        if options.device == "cpu"
        else ["packed", "compiled", "pinned", "overlap", "float8"]
    )
    for name in names:
        other = replace(base, **{name: not getattr(base, name)})
        label = f"{name} {'on' if getattr(other, name) else 'off'}"
        rows += run(place, ways | {label: qvec_way(place, **kinds, levers=other)}, documents, options)
    twice = replace(base, deduplicate=False)
    repeated = documents + documents[: len(documents) // 4]
    rows += run(place, ways | {"deduplicate off": qvec_way(place, **kinds, levers=twice)}, repeated, options)
    with_prompt = TransformerEmbedder(str(place), **kinds)
    without = TransformerEmbedder(str(place), **kinds, levers=replace(base, shared_prefix=False))
    asked: dict[str, Way] = {"qvec": with_prompt.encode_query, "shared_prefix off": without.encode_query}
    return rows + run(place, asked, queries, options, prompt=PROMPT)


def run(
    place: Path, ways: dict[str, Way], texts: list[str], options: argparse.Namespace, *, prompt: str = ""
) -> list[dict[str, object]]:
    """Time the ways in turn, and compare their vectors."""
    lengths, config = describe(place, [prompt + text for text in texts])
    # On a shared CPU the process's own seconds compare better than those of the clock.
    on_cpu = options.device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    peak = matmul_rate(device_of(options.device), dtype_of(options.dtype), clock=clock)
    for way in ways.values():
        way(texts[-2:])
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    vectors: dict[str, np.ndarray] = {}
    # The GPU's script ends at a fixed time; what was not reached by then has no row.
    deadline = getattr(options, "deadline", math.inf)
    for _ in range(options.passes):
        for name, way in ways.items():
            if time.monotonic() > deadline:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            vectors[name] = way(texts)
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
            print(f"{name}: {taken[name][-1][0]:.1f} s, {taken[name][-1][1]:.1f} s of CPU", flush=True)
    first = next(iter(ways))
    cost = {name: statistics.median(pair[on_cpu] for pair in pairs) for name, pairs in taken.items() if pairs}
    return [
        {
            "set": options.which if not prompt else "queries",
            "shape": options.shape,
            "device": options.device,
            "dtype": options.dtype,
            "threads": options.threads,
            "way": name,
            "texts": len(texts),
            "tokens": sum(lengths),
            "longest": max(lengths),
            "seconds": statistics.median(pair[0] for pair in taken[name]),
            "cpu_seconds": statistics.median(pair[1] for pair in taken[name]),
            "tokens_per_second": sum(lengths) / cost[name],
            "mfu": model_flops(config, lengths) / cost[name] / peak / 1e12,
            "matmul_tflops": peak,
            "qvec_is_times": cost[name] / cost[first],
            "least_cosine_with_qvec": float((vectors[name] * vectors[first]).sum(axis=1).min()),
        }
        for name in cost
    ]


def describe(place: Path, texts: list[str]) -> tuple[list[int], object]:
    """Count tokens and read the configuration without loading weights."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(place))
    return [len(ids) for ids in tokenizer(texts)["input_ids"]], AutoConfig.from_pretrained(str(place))


def device_of(name: str) -> Any:
    """Return the torch device of a name."""
    import torch

    return torch.device(name)


def dtype_of(name: str) -> object:
    """Return the torch number format of a name."""
    import torch

    return getattr(torch, name)
