"""Retrieval quality of each database on judged sets: ``python -m benchmarks.quality --backend faiss``.

The sets lie in the folder QVEC_SHARED_DATA names. Of a set with more queries a sample is asked, the same for every
database; corpora are indexed whole.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import report
from qvec.evaluation.grid import evaluate
from qvec.evaluation.sets import read_set
from qvec.registry import embedded_uri

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ("memory", "faiss", "pgvector", "milvus")
BACKENDS = (*EMBEDDED, "elasticsearch")
# SciFact's test split is what BEIR reports on.
SETS: dict[str, str | None] = {
    "limit_small": None, "pyfaq": None, "cmrc2018": None, "scifact": "test",
    "pyhow_zh": None, "zh_pydoc": None, "hutool_zh": None, "pyapi_zh": None,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--set", action="append", choices=list(SETS), dest="sets")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--queries", type=int, default=300, help="most queries of a set")
    parser.add_argument("--server", help="URI of a server to take instead of the embedded one; Elasticsearch needs one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    backends = options.backend or EMBEDDED
    if "elasticsearch" in backends and not options.server:
        parser.error("Elasticsearch is no embedded database: name one with --server elasticsearch://127.0.0.1:9200")
    data = Path(os.environ.get("QVEC_SHARED_DATA", ROOT.parent / "shared" / "data"))
    rows: list[dict[str, object]] = []
    for backend in backends:
        for name in options.sets or SETS:
            rows += measured(data / name, SETS[name], backend, options)
    columns = ("set", "backend", "mode", "documents", "queries", "ndcg@10", "recall@10", "p50_ms")
    print(report.table(rows, columns))


def measured(folder: Path, split: str | None, backend: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure one set in one database, in a folder of its own, and keep the rows at once."""
    judged = read_set(folder, split=split)
    whole = len(judged.queries)
    judged = judged.sample(options.queries, seed=options.seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        uri = options.server or embedded_uri(backend, place).reveal()
        found = list(evaluate(judged, backends=[uri], models=[options.model], ks=[10]))
    rows = []
    for row in found:
        plain = {key: value for key, value in asdict(row).items() if key not in ("backend", "figures")}
        rows.append({"backend": backend, "split": split, "queries_of": whole, **plain, **row.figures})
    report.write("quality", rows, seed=options.seed, out=options.out)
    print(f"{backend} {judged.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    main()
