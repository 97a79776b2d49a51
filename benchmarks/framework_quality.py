"""Keyword, vector and hybrid search by qvec and by each framework's own: ``python -m benchmarks.framework_quality``.

The sets lie in the folder QVEC_SHARED_DATA names; all ask the same sample of queries over the whole corpus, by the same
model. What the frameworks lose is shown by itself, too: qvec's dense search without the query's instruction, without
the newlines, without both.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.framework_pipelines import LOSSES, PIPELINES, Search, qvec
from benchmarks.report import ROOT, table, write
from qvec.embedder import Embedder
from qvec.evaluation.metrics import measure
from qvec.evaluation.sets import JudgedSet, read_set
from qvec.registry import load_embedder
from qvec.retrieval import Mode

# SciFact's test split is what BEIR reports on.
SETS: dict[str, str | None] = {"hutool_zh": None, "pyhow_zh": None, "scifact": "test", "pyfaq": None}
MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid")
K = 10
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", choices=list(SETS), dest="sets")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--queries", type=int, default=200, help="most queries of a set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    data = Path(os.environ.get("QVEC_SHARED_DATA", ROOT.parent / "shared" / "data"))
    model = load_embedder(options.model)
    rows: list[Row] = []
    for name in options.sets or SETS:
        started = time.perf_counter()
        judged = read_set(data / name, split=SETS[name]).sample(options.queries, seed=options.seed)
        found = measured(judged, model)
        write("framework_quality", found, seed=options.seed, out=options.out)
        rows += found
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    print(table(rows, ("set", "pipeline", "mode", "queries", f"ndcg@{K}", f"recall@{K}")))


def measured(judged: JudgedSet, model: Embedder) -> list[Row]:
    """Ask all pipelines in all modes, and qvec by vector with what is lost elsewhere."""
    documents = list(judged.corpus())
    rows: list[Row] = []
    for name, pipeline in PIPELINES.items():
        rows += _asked(judged, model, name, pipeline(documents, model), MODES)
    for name, lost in LOSSES.items():
        rows += _asked(judged, model, name, partial(qvec, **lost)(documents, model), ("dense",))
    return rows


def _asked(judged: JudgedSet, model: Embedder, name: str, search: Search, modes: Sequence[Mode]) -> list[Row]:
    rows: list[Row] = []
    for mode in modes:
        run = {key: search(text, mode)[:K] for key, text in judged.queries.items()}
        figures = measure(run, judged.qrels, [K])
        rows.append(
            {
                "set": judged.name,
                "pipeline": name,
                "mode": mode,
                "model": model.model_id,
                "queries": len(run),
                **{metric: round(figure, 4) for metric, figure in figures.items()},
            }
        )
    return rows


if __name__ == "__main__":
    main()
