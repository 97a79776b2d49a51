"""Embed the same texts by each way in turn, and append to the results what each took.

python -m benchmarks.embed --n 64               # CPU, float32: short texts on the 0.6B shape, long ones on a small one
python -m benchmarks.embed --set short          # one of the two
python -m benchmarks.embed --levers             # each switch on its own
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.embed.comparing import COLUMNS, compare, levers
from benchmarks.embed.shapes import SHAPES, write_model
from benchmarks.report import table, write

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embed", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="0.6B")
    parser.add_argument("--set", choices=("short", "long", "both"), default="both", dest="which")
    parser.add_argument("--long-shape", choices=SHAPES, default="small")
    parser.add_argument("--long-n", type=int, default=4)
    parser.add_argument("--levers", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 8, 2])
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "qvec-embed-models")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.device == "cpu":
        import torch

        torch.set_num_threads(options.threads)
    if options.levers:
        measure("embed-levers", levers, options)
        return
    which = ("short", "long") if options.which == "both" else (options.which,)
    if "short" in which:
        options.which = "short"
        measure("embed", compare, options)
    if "long" in which:
        options.which, options.shape, options.n = "long", options.long_shape, options.long_n
        # Padded, more than two long texts at once take no CPU's memory.
        options.sizes = [32, 2, 1]
        measure("embed", compare, options)


def measure(
    name: str,
    work: Callable[[Path, argparse.Namespace], list[dict[str, object]]],
    options: argparse.Namespace,
) -> None:
    """Run one benchmark, and append and show what it found."""
    place = write_model(options.models, options.shape, device=options.device, dtype=options.dtype, seed=options.seed)
    rows = work(place, options)
    path = write(name, rows, seed=options.seed, out=options.out)
    print(table(rows, COLUMNS))
    print(path)


if __name__ == "__main__":
    main()
