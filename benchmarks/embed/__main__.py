"""Embed the same texts by each way in turn, and append to the results what each took.

python -m benchmarks.embed                                              # CPU, float32, 0.6B shape
python -m benchmarks.embed --set long --shape small --n 4
python -m benchmarks.embed --levers                                     # each switch on its own
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.embed.comparing import COLUMNS, compare, levers
from benchmarks.embed.shapes import SHAPES, write_model
from benchmarks.report import table, write

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embed", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="0.6B")
    parser.add_argument("--set", choices=("short", "long"), default="short", dest="which")
    parser.add_argument("--levers", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 8, 2])
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "qvec-embed-models")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.device == "cpu":
        import torch

        torch.set_num_threads(options.threads)
    place = write_model(options.models, options.shape, device=options.device, dtype=options.dtype, seed=options.seed)
    rows = levers(place, options) if options.levers else compare(place, options)
    name = "embed-levers" if options.levers else "embed"
    path = write(name, rows, seed=options.seed, out=options.out)
    print(table(rows, COLUMNS))
    print(path)


if __name__ == "__main__":
    main()
