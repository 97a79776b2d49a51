"""Measure the shipped model beside BM25 and all-MiniLM-L6-v2."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.bundled_model.evaluation import (
    DEPTH,
    Run,
    Task,
    Vectors,
    dense_run,
    fused_run,
    lexical_run,
    load_tasks,
    measure,
)
from benchmarks.bundled_model.places import REPO, RESULTS, Row, cache, read_rows
from benchmarks.bundled_model.standard_library import source_tasks, ten
from qvec.embedders.bundled import DIMS, BundledEmbedder
from qvec.fusion import FusionSpec
from qvec.lexical_weight import weighed
from qvec.translation import with_english

# The length that all-MiniLM-L6-v2 was trained on; it was run at no more here.
MINILM_WINDOW = 128
_RESULTS = RESULTS / "bundled_model.jsonl"


@dataclass(frozen=True, slots=True)
class Legs:
    """Hold one task's rankings by each leg, and by the keyword leg as a hybrid search asks it."""

    task: Task
    dense: Run
    lexical: Run
    translated: Run


def evaluate() -> None:
    """Print the table and write benchmarks/results/bundled_model.jsonl."""
    model = BundledEmbedder()
    head: Row = {
        "kind": "run", "commit": _commit(), "machine": platform.machine(), "cores": os.cpu_count(),
        "python": platform.python_version(), "model": model.revision, "seed": 0,
        "command": "python -m benchmarks.bundled_model evaluate",
    }  # fmt: skip
    rows = [head, _known_speed() if "QVEC_WITHOUT_SPEED" in os.environ else {"kind": "speed", **speed(model)}]
    rows += [_asked(task, model) for task in [*load_tasks(), *source_tasks()]] + ten()
    _write(rows)


def evaluate_library() -> None:
    """Ask only the standard library's source anew, and put what it says in place of those rows of the results file."""
    model = BundledEmbedder()
    found = [_asked(task, model) for task in source_tasks()] + ten()
    commit = _commit()
    asked = {row["set"] for row in found if row["kind"] == "set"}
    kept = [row for row in read_rows(_RESULTS) if row["kind"] != "ten" and row.get("set") not in asked]
    _write([*kept, *({**row, "commit": commit} for row in found)])


def _asked(task: Task, model: BundledEmbedder) -> Row:
    """Ask one set by every leg."""
    legs = legs_of(task, model)
    row: Row = {"kind": "set", "set": task.name, "queries": len(task.queries), "documents": len(task.documents)}
    row["bundled"] = measure(task, legs.dense)
    row["bm25"] = measure(task, legs.lexical)
    row["translated"] = measure(task, legs.translated)
    row["hybrid"] = measure(task, fused_run(task, legs.dense, legs.translated, _how))
    if "QVEC_WITHOUT_MINILM" not in os.environ or _is_kept("minilm", task.documents):
        row["minilm"] = measure(task, dense_run(_minilm(task.queries), _minilm(task.documents)))
    if task.name in ("pyhow_zh/zh", "cosqa/test", "held_packages/en"):
        row["dims"] = _by_width(task)
    figures = {
        name: row[name]["mrr@10"] for name in ("bundled", "bm25", "translated", "hybrid", "minilm") if name in row
    }
    print(f"{task.name:24} {len(task.queries):5} {figures}", flush=True)
    return row


def _write(rows: Iterable[Row]) -> None:
    RESULTS.mkdir(exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    _RESULTS.write_text("".join(lines), encoding="utf-8")


def _known_speed() -> Row:
    """Read the speed of an earlier run of the same model: on a machine that others use it says nothing."""
    return next(row for row in read_rows(_RESULTS) if row["kind"] == "speed")


def _how(query: str) -> FusionSpec:
    return weighed(FusionSpec(), query, free=True)


def speed(model: BundledEmbedder) -> Row:
    """Time loading, one query, and documents of 128 tokens in batches on one thread and on all."""
    text = "def read_table(path, delimiter):\n    with open(path) as file:\n        return list(csv.reader(file))\n"
    count = model.count_tokens([text])[0] - 1
    documents = [f"{text * (127 // count)}\n# number {i}" for i in range(4000)]
    result: Row = {"document_tokens": round(float(np.mean(model.count_tokens(documents[:50]))), 1)}
    result["load_ms"] = round(min(_seconds(BundledEmbedder) for _ in range(5)) * 1e3, 1)
    queries = [_seconds(lambda: model.encode_query(["计算文件的SHA256哈希"])) for _ in range(300)]
    result["query_p50_ms"] = round(float(np.median(queries)) * 1e3, 3)
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    for name, flag, threads in (("one_thread", "false", 1), ("all_threads", "true", os.cpu_count() or 1)):
        os.environ["TOKENIZERS_PARALLELISM"] = flag
        timed = BundledEmbedder(threads=threads)
        best = min(_seconds(lambda timed=timed: timed.encode_document(documents)) for _ in range(3))
        result[f"documents_per_second_{name}"] = round(len(documents) / best)
    os.environ["TOKENIZERS_PARALLELISM"] = before or "true"
    print(result, flush=True)
    return result


def legs_of(task: Task, model: BundledEmbedder) -> Legs:
    """Rank one task's documents by each leg, or read what was ranked before."""
    documents = _kept(f"bundled-{model.revision}", task.documents, model.encode_document)
    dense = dense_run(model.encode_query(task.queries), documents)
    return Legs(task, dense, _lexical(task), _lexical(replace(task, queries=list(map(with_english, task.queries)))))


def _lexical(task: Task) -> Run:
    path = cache() / "runs" / f"bm25-{DEPTH}-{_mark([*task.documents, *task.queries])}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(lexical_run(task)), encoding="utf-8")
    return [[(int(i), float(score)) for i, score in hits] for hits in json.loads(path.read_text(encoding="utf-8"))]


def _minilm(texts: list[str]) -> Vectors:
    from benchmarks.bundled_model import teachers

    return _kept("minilm", texts, lambda rows: teachers.minilm().embed(rows, longest=MINILM_WINDOW))


def _is_kept(name: str, texts: list[str]) -> bool:
    return (cache() / "runs" / f"{name}-{_mark(texts)}.npy").exists()


def _kept(name: str, texts: list[str], embed: Callable[[list[str]], Vectors]) -> Vectors:
    path = cache() / "runs" / f"{name}-{_mark(texts)}.npy"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        np.save(path, embed(texts))
    return np.asarray(np.load(path), dtype=np.float32)


def _by_width(task: Task) -> dict[str, float]:
    """Measure MRR@10 at every width, cut from the full one."""
    model = BundledEmbedder(dim=DIMS[-1])
    documents = _kept(f"bundled-{model.revision}-wide", task.documents, model.encode_document)
    queries = model.encode_query(task.queries)
    found = {}
    for dim in DIMS:
        rows, asked = (
            each[:, :dim] / np.linalg.norm(each[:, :dim], axis=1, keepdims=True) for each in (documents, queries)
        )
        found[str(dim)] = measure(task, dense_run(asked, rows))["mrr@10"]
    return found


def _mark(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in itertools.chain(texts):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:20]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    return found.stdout.strip()
