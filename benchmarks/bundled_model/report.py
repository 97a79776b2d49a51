"""Measure the shipped model beside BM25 and all-MiniLM-L6-v2, and choose the lexical leg's weights."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.bundled_model.evaluation import (
    Run,
    Task,
    Vectors,
    dense_run,
    fused_run,
    lexical_run,
    load_tasks,
    measure,
)
from benchmarks.bundled_model.places import REPO, RESULTS, Row, cache
from benchmarks.bundled_model.standard_library import source_tasks, ten
from qvec.embedders.bundled import DIMS, BundledEmbedder
from qvec.lexical_weight import WEIGHTS, QueryKind, lexical_weight, query_kind

# The length that all-MiniLM-L6-v2 was trained on; it was run at no more here.
MINILM_WINDOW = 128
GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Legs:
    """Hold one task's rankings by each leg."""

    task: Task
    dense: Run
    lexical: Run


def evaluate() -> None:
    """Print the table and write benchmarks/results/bundled_model.jsonl."""
    model = BundledEmbedder()
    head: Row = {
        "kind": "run", "commit": _commit(), "machine": platform.machine(), "cores": os.cpu_count(),
        "python": platform.python_version(), "model": model.revision, "seed": 0,
        "command": "python -m benchmarks.bundled_model evaluate",
    }  # fmt: skip
    rows = [head, {"kind": "speed", **speed(model)}]
    for task in [*load_tasks(), *source_tasks()]:
        legs = _legs(task, model)
        row: Row = {"kind": "set", "set": task.name, "queries": len(task.queries), "documents": len(task.documents)}
        row["bundled"] = measure(task, legs.dense)
        row["bm25"] = measure(task, legs.lexical)
        row["hybrid"] = measure(task, fused_run(task, legs.dense, legs.lexical, lexical_weight))
        if "QVEC_WITHOUT_MINILM" not in os.environ or _is_kept("minilm", task.documents):
            row["minilm"] = measure(task, dense_run(_minilm(task.queries), _minilm(task.documents)))
        if task.name in ("pyhow_zh/zh", "cosqa/test", "held_packages/en"):
            row["dims"] = {str(dim): _cut(task, model, dim) for dim in DIMS}
        rows.append(row)
        figures = {name: row[name]["mrr@10"] for name in ("bundled", "bm25", "hybrid", "minilm") if name in row}
        print(f"{task.name:24} {len(task.queries):5} {figures}", flush=True)
    rows += ten()
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "bundled_model.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


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


def choose_weights() -> None:
    """Search the lexical weights on a grid: never far below the better leg on any set first, then the best mean."""
    model = BundledEmbedder()
    every = [_worths(_legs(task, model)) for task in [*load_tasks(), *source_tasks()]]
    best = dict(WEIGHTS)
    for _ in range(4):
        for kind in QueryKind:
            best[kind] = max(GRID, key=lambda value, kind=kind: _gain(every, best | {kind: value}))
    print(round(_gain(every, best), 4), {kind.value: value for kind, value in best.items()})
    for worths in every:
        gain = worths.fused(best) - worths.better
        print(f"{worths.name:24} better leg {worths.better:.3f} hybrid {gain:+.3f}")


@dataclass(frozen=True, slots=True)
class Worths:
    """Hold one task's mean reciprocal ranks: of the better leg, and summed for each kind of query and each weight."""

    name: str
    better: float
    queries: int
    sums: dict[QueryKind, dict[float, float]]

    def fused(self, weights: dict[QueryKind, float]) -> float:
        """Average over the queries, each at its kind's weight."""
        return sum(sums[weights[kind]] for kind, sums in self.sums.items()) / self.queries


def _worths(legs: Legs) -> Worths:
    task = legs.task
    better = max(measure(task, run)["mrr@10"] for run in (legs.dense, legs.lexical))
    kinds = [query_kind(query) for query in task.queries]
    sums: dict[QueryKind, dict[float, float]] = {kind: dict.fromkeys(GRID, 0.0) for kind in set(kinds)}
    for value in GRID:
        fused = fused_run(task, legs.dense, legs.lexical, lambda _, value=value: value)
        for kind, hits, relevant in zip(kinds, fused, task.relevant, strict=True):
            rank = next((rank for rank, (i, _) in enumerate(hits[:10], 1) if i in relevant), None)
            sums[kind][value] += 1 / rank if rank else 0.0
    return Worths(task.name, better, len(task.queries), sums)


def _gain(every: list[Worths], weights: dict[QueryKind, float]) -> float:
    gains = [worths.fused(weights) - worths.better for worths in every]
    return sum(gain + 8 * min(0.0, gain + 0.008) for gain in gains) / len(gains)


def _legs(task: Task, model: BundledEmbedder) -> Legs:
    documents = _kept(f"bundled-{model.revision}", task.documents, model.encode_document)
    return Legs(task, dense_run(model.encode_query(task.queries), documents), _lexical(task))


def _lexical(task: Task) -> Run:
    path = cache() / "runs" / f"bm25-{_mark([*task.documents, *task.queries])}.json"
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


def _cut(task: Task, model: BundledEmbedder, dim: int) -> float:
    documents = _kept(f"bundled-{model.revision}", task.documents, model.encode_document)[:, :dim]
    queries = model.encode_query(task.queries)[:, :dim]
    documents = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    return measure(task, dense_run(queries, documents))["mrr@10"]


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
