"""Everything that needs a GPU, in one command and under ten minutes: python -m benchmarks.embed.gpu

Stages: a check of the vectors, each shape against the others, the levers, long texts, one query's latency. Each is
guarded, and none is begun that the time left does not cover; what was measured is on disk after each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.embed.comparing import COLUMNS, compare, levers
from benchmarks.embed.shapes import write_model
from benchmarks.report import table, write
from qvec.embedders.measuring import sample_texts, timed
from qvec.embedders.transformer import TransformerEmbedder

ROOT = Path(__file__).resolve().parents[2]
Rows = list[dict[str, object]]
# Texts in the short set, and the seconds that a stage may take, per shape.
TEXTS = {"small": 32, "0.6B": 8192, "4B": 2048, "8B": 1024}
SECONDS = {"check": 30, "short": 120, "levers": 90, "long": 45, "latency": 20}


def main() -> None:
    """Run the stages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embed.gpu", description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=["0.6B", "4B", "8B"])
    parser.add_argument("--device", default="cuda", help="cpu runs every stage on the small shape, as a trial")
    parser.add_argument("--seconds", type=float, default=560)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "qvec-embed-models")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    options.deadline = end
    trial = options.device == "cpu"
    options.shapes = ["small"] if trial else options.shapes
    options.dtype = "float32" if trial else "bfloat16"
    options.sizes = [32, 8] if trial else [32, 128]
    options.passes, options.threads = (1, 1) if trial else (3, 1)
    stages: list[tuple[str, str, Callable[[Path, argparse.Namespace], Rows]]] = [
        (stage, shape, work)
        for shape in options.shapes
        for stage, work in (("check", check), ("short", short), ("latency", latency), ("long", long))
    ]
    stages.insert(4, ("levers", options.shapes[0], switches))
    for stage, shape, work in stages:
        if time.monotonic() + SECONDS[stage] > end:
            print(f"no time left for {stage} {shape}", flush=True)
            continue
        options.shape = shape
        guarded(stage, work, options)


def guarded(stage: str, work: Callable[[Path, argparse.Namespace], Rows], options: argparse.Namespace) -> None:
    """Run a stage and write its rows; a failure is told and the next stage runs."""
    begin = time.monotonic()
    try:
        place = write_model(options.models, options.shape, device=options.device, dtype=options.dtype)
        rows = work(place, options)
    except Exception:  # noqa: BLE001 - the next stage may work, and the device's time is short
        traceback.print_exc()
        return
    finally:
        release(options.device)
    write("embed-gpu", [{"stage": stage, **row} for row in rows], seed=options.seed, out=options.out)
    print(f"{stage} {options.shape}: {time.monotonic() - begin:.0f} s", flush=True)
    print(table(rows, [column for column in COLUMNS if column in rows[0]] if "way" in rows[0] else list(rows[0])))


def check(place: Path, options: argparse.Namespace) -> Rows:
    """Compare vectors in half precision with those of float32."""
    texts = sample_texts(24, mean=120, most=1024, seed=options.seed)
    exact = TransformerEmbedder(str(place), device=options.device, dtype="float32").encode_document(texts)
    found = TransformerEmbedder(str(place), device=options.device, dtype=options.dtype).encode_document(texts)
    return [{"shape": options.shape, "dtype": options.dtype, "least_cosine": float((exact * found).sum(axis=1).min())}]


def short(place: Path, options: argparse.Namespace) -> Rows:
    """Compare the ways on many short texts."""
    options.which, options.n = "short", TEXTS[options.shape]
    return compare(place, options)


def switches(place: Path, options: argparse.Namespace) -> Rows:
    """Switch one lever at a time."""
    options.which, options.n = "short", min(TEXTS[options.shape], 4096)
    return levers(place, options)


def long(place: Path, options: argparse.Namespace) -> Rows:
    """Compare the ways on texts of 2,000 to 32,000 tokens."""
    options.which, options.n = "long", 2 if options.device == "cpu" else 24
    return compare(place, options)


def latency(place: Path, options: argparse.Namespace) -> Rows:
    """Time one short query at a time, text in to vector out."""
    embedder = TransformerEmbedder(str(place), device=options.device, dtype=options.dtype)
    queries = [f"where is number {number} read" for number in range(30)]
    for query in queries[:5]:
        embedder.encode_query([query])
    seconds = [timed(lambda query=query: embedder.encode_query([query]), embedder.device) for query in queries]
    tokens = statistics.median(embedder.count_tokens(queries))
    return [
        {
            "shape": options.shape,
            "tokens_of_the_text": tokens,
            "p50_ms": 1000 * float(np.median(seconds)),
            "p95_ms": 1000 * float(np.quantile(seconds, 0.95)),
        }
    ]


def release(device: str) -> None:
    """Hand the device's memory back before the next stage."""
    import gc

    import torch

    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
