"""Score the model, BM25 and all-MiniLM-L6-v2 on every held-out set, alone and fused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundled_model.places import Row, cache, read_rows, shared_data
from qvec.evaluation import metrics
from qvec.fusion import FusionSpec, standings
from qvec.lexical import idf, query_terms, term_frequencies, term_score
from qvec.ranking import WINDOW

DEPTH = WINDOW
Vectors = NDArray[np.float32]
Run = list[list[tuple[int, float]]]
SMALL_GRADE = 1


@dataclass(frozen=True, slots=True)
class Task:
    """Hold one retrieval set: parallel lists of texts, and for each query the grade of its relevant documents."""

    name: str
    documents: list[str]
    queries: list[str]
    relevant: list[dict[int, int]]


def load_tasks() -> list[Task]:
    """Read every set that the model is judged on."""
    found = [
        *read_folder("pyhow_zh", by="lang"),
        *read_folder("pyhow_zh", by="lang", field="sig", suffix="_sig"),
        *read_folder("pyapi_zh", by="lang", field="sig", suffix="_sig", only=("zh",)),
        *read_folder("pyapi_zh", by="lang", field="sig", suffix="_sig_held", only=("zh",), held=True),
        *read_folder("hutool_zh", by="lang"),
        *read_folder("zh_pydoc", by="lang"),
        *read_folder("tldr", by="lang"),
        *read_folder("mbpp_zh", by="lang"),
        *read_folder("lancet_go", by="lang"),
        *read_folder("cosqa", by="split"),
        *read_folder("cosqa", by="split", field="text_nodoc", suffix="_nodoc", only=("test",)),
        *read_folder("odex", by="lang"),
    ]
    return [*found, _held_packages()]


def read_folder(
    name: str, *, by: str, field: str = "text", suffix: str = "", only: Sequence[str] = (), held: bool = False
) -> list[Task]:
    """Read a set as one task for each language or split of its queries."""
    folder = shared_data() / name
    corpus = list(read_rows(folder / "corpus.jsonl.gz"))
    place = {row["id"]: i for i, row in enumerate(corpus)}
    grades: dict[str, dict[int, int]] = defaultdict(dict)
    for row in read_rows(folder / "qrels.jsonl.gz"):
        grades[row["query_id"]][place[row["doc_id"]]] = int(row["score"])
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(folder / "queries.jsonl.gz"):
        if row["id"] in grades and (not held or row.get("held_mod")):
            groups[row[by]].append(row)
    texts = [row.get(field) or row["text"] for row in corpus]
    return [
        Task(f"{name}{suffix}/{group}", texts, [r["text"] for r in rows], [grades[r["id"]] for r in rows])
        for group, rows in sorted(groups.items())
        if not only or group in only
    ]


def _held_packages(queries: int = 3000) -> Task:
    rows = list(read_rows(cache() / "held.jsonl.gz"))
    chosen = np.random.default_rng(0).permutation(len(rows))[:queries]
    return Task(
        "held_packages/en", [row["c"] for row in rows], [rows[i]["q"] for i in chosen], [{int(i): 1} for i in chosen]
    )


def dense_run(queries: Vectors, documents: Vectors) -> Run:
    """Search exactly by inner product."""
    run: Run = []
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ documents.T
        top = np.argpartition(-scores, min(DEPTH, scores.shape[1] - 1), axis=1)[:, :DEPTH]
        for row, columns in zip(scores, top, strict=True):
            best = columns[np.argsort(-row[columns], kind="stable")]
            run.append([(int(c), float(row[c])) for c in best])
    return run


def lexical_run(task: Task) -> Run:
    """Search by BM25 over qvec's own tokens."""
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    lengths = np.zeros(len(task.documents))
    for i, document in enumerate(task.documents):
        frequencies = term_frequencies(document)
        lengths[i] = sum(frequencies.values())
        for term, count in frequencies.items():
            postings[term].append((i, count))
    average = float(lengths.mean())
    run: Run = []
    for query in task.queries:
        scores: Counter[int] = Counter()
        for term in query_terms(query):
            found = postings.get(term, [])
            weight = idf(len(lengths), len(found))
            for i, count in found:
                scores[i] += weight * term_score(count, lengths[i], average)
        run.append(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:DEPTH])
    return run


def fused_run(task: Task, dense: Run, lexical: Run, how: Callable[[str], FusionSpec]) -> Run:
    """Fuse two runs as a search does, each query as `how` says."""
    run: Run = []
    for query, left, right in zip(task.queries, dense, lexical, strict=True):
        found = standings({"lexical": _named(right), "dense": _named(left)}, how(query), first=DEPTH)
        run.append([(int(each.id), each.score) for each in found])
    return run


def _named(hits: Sequence[tuple[int, float]]) -> list[tuple[str, float]]:
    return [(f"{i:09}", score) for i, score in hits]


def measure(task: Task, run: Run) -> dict[str, float]:
    """Average MRR@10 and nDCG@10 over a task's queries."""
    answers = {str(query): [str(i) for i, _ in hits] for query, hits in enumerate(run)}
    qrels = {str(query): {str(i): grade for i, grade in grades.items()} for query, grades in enumerate(task.relevant)}
    figures = metrics.measure(answers, qrels, [10])
    return {name: round(figures[name], 4) for name in ("mrr@10", "ndcg@10")}


def mean_reciprocal(figures: Mapping[str, Mapping[str, float]]) -> float:
    """Average a table's MRR@10, for choosing between runs."""
    return float(np.mean([row["mrr@10"] for row in figures.values()]))
