"""Measure what the keyword leg's weight by evidence reaches on prose and code, and search for its numbers anew."""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.bundled_model.evaluation import DEPTH, Run, Task, dense_run, fused_run, load_tasks, measure
from benchmarks.bundled_model.places import RESULTS, shared_data
from qvec.embedders.bundled import BundledEmbedder
from qvec.evaluation.sets import read_set
from qvec.evidence import Evidence
from qvec.fusion import FusionSpec
from qvec.lexical import K1, B, idf, query_terms, term_frequencies
from qvec.lexical_weight import EVIDENCE, QueryKind, query_kind, weighed

PROSE = {"cmrc2018": None, "drcd": None, "limit_small": None, "pyfaq": None, "scifact": "test"}
UNSEEN = {"nl2bash": None, "paddle_api_zh": None, "xeutils_js": None}
QUERIES = 300
PENALTY = 10.0
SLACK = 0.003
GRID = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
BASES = np.arange(4.5, 9.1, 0.5)
DROPS = np.arange(45.0, 81.0, 5.0)
LEADS = {QueryKind.CHINESE: (0.7, 1.0, 1.2, 1.4, 1.7), QueryKind.ENGLISH: (12.0, 14.5, 17.0, 20.0)}


@dataclass(frozen=True, slots=True)
class Legs:
    """Hold one task's rankings by each leg, `DEPTH` deep."""

    task: Task
    dense: Run
    lexical: Run

    def hybrid(self, evidence: Evidence | None = None) -> float:
        """Return the fusion's nDCG@10: as a search weighs it, or by this evidence."""

        def how(query: str) -> FusionSpec:
            return weighed(FusionSpec(), query, free=True) if evidence is None else FusionSpec(evidence=evidence)

        return measure(self.task, fused_run(self.task, self.dense, self.lexical, how))["ndcg@10"]

    def better(self) -> float:
        """Return the nDCG@10 of the better leg."""
        return max(measure(self.task, run)["ndcg@10"] for run in (self.dense, self.lexical))


def measure_weights() -> None:
    """Write a row for each set: both legs, their fusion by a weight of one and by evidence."""
    for legs in _legs(_tasks()):
        started = time.perf_counter()
        row: dict[str, object] = {
            "set": legs.task.name,
            "seen": legs.task.name.split("/")[0] not in UNSEEN,
            "documents": len(legs.task.documents),
            "queries": len(legs.task.queries),
            "dense": measure(legs.task, legs.dense)["ndcg@10"],
            "lexical": measure(legs.task, legs.lexical)["ndcg@10"],
            "even": legs.hybrid(Evidence(base=0.0)),
            "hybrid": legs.hybrid(),
        }
        report.write("weights", [row], seed=0, out=RESULTS)
        print(f"{row} {time.perf_counter() - started:.1f} s", flush=True)


def search_weights() -> None:
    """Try every combination on the sets that may be seen, and print the best ones of each kind."""
    every = [_tried(legs) for legs in _legs(_tasks()) if legs.task.name.split("/")[0] not in UNSEEN]
    for kind, leads in LEADS.items():
        asked = [tried for tried in every if _mostly(tried.legs.task.queries, kind)]
        found = []
        for base, lead, drop in itertools.product(BASES, leads, DROPS):
            named = {"points": lead} if kind is QueryKind.CHINESE else {"lead": lead}
            evidence = Evidence(base=float(base), drop=float(drop), **named)
            gains = [tried.gain(evidence) for tried in asked]
            worth = float(np.mean([gain + PENALTY * min(0.0, gain + SLACK) for gain in gains]))
            found.append((worth, min(gains), evidence))
        for worth, least, evidence in sorted(found, key=lambda each: -each[0])[:5]:
            print(f"{kind} {worth:.4f} worst {least:+.4f} {evidence}", flush=True)


@dataclass(frozen=True, slots=True)
class _Tried:
    """Hold a task's legs, and for each query the nDCG@10 of their fusion by each weight of `GRID`."""

    legs: Legs
    better: float
    worths: NDArray[np.float64]

    def gain(self, evidence: Evidence) -> float:
        """Return by how much the fusion is above the better leg, read off between the weights tried."""
        pairs = zip(self.legs.lexical, self.legs.dense, strict=True)
        weights = [evidence.weight([s for _, s in words[:5]], [s for _, s in near]) for words, near in pairs]
        at = np.interp(np.log(weights), np.log(GRID), np.arange(len(GRID)))
        low, rows = np.minimum(at.astype(int), len(GRID) - 2), np.arange(len(at))
        part = at - low
        worth = self.worths[rows, low] * (1 - part) + self.worths[rows, low + 1] * part
        return float(worth.mean()) - self.better


def _tried(legs: Legs) -> _Tried:
    columns = []
    for weight in GRID:
        how = FusionSpec(weights={"lexical": weight})
        run = fused_run(legs.task, legs.dense, legs.lexical, lambda _, how=how: how)
        pairs = zip(run, legs.task.relevant, strict=True)
        columns.append([measure(Task("", [], [""], [grades]), [hits])["ndcg@10"] for hits, grades in pairs])
    return _Tried(legs, legs.better(), np.array(columns).T)


def _mostly(queries: Sequence[str], kind: QueryKind) -> bool:
    same = sum(EVIDENCE.get(query_kind(query)) == EVIDENCE[kind] for query in queries)
    return 2 * same > len(queries)


def _tasks() -> list[Task]:
    tasks = [_judged(name, split) for name, split in (PROSE | UNSEEN).items()] + load_tasks()
    return sorted(map(_sample, tasks), key=lambda task: (len(task.documents), task.documents[0], task.name))


def _judged(name: str, split: str | None) -> Task:
    judged = read_set(Path(shared_data() / name), split=split)
    documents = list(judged.corpus())
    place = {document.id: at for at, document in enumerate(documents)}
    relevant = [
        {place[id]: grade for id, grade in judged.qrels[query].items() if grade > 0} for query in judged.queries
    ]
    return Task(name, [each.searchable_text for each in documents], list(judged.queries.values()), relevant)


def _sample(task: Task) -> Task:
    chosen = sorted(random.Random(0).sample(range(len(task.queries)), min(QUERIES, len(task.queries))))
    return Task(task.name, task.documents, [task.queries[at] for at in chosen], [task.relevant[at] for at in chosen])


def _legs(tasks: Iterable[Task]) -> Iterable[Legs]:
    model = BundledEmbedder()
    corpus, index, vectors = None, _Index([]), None
    for task in tasks:
        if vectors is None or task.documents != corpus:
            corpus, index, vectors = task.documents, _Index(task.documents), model.encode_document(task.documents)
        yield Legs(task, dense_run(model.encode_query(task.queries), vectors), [index.best(q) for q in task.queries])


class _Index:
    """BM25 in arrays."""

    def __init__(self, documents: Sequence[str]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        counts: dict[str, list[int]] = defaultdict(list)
        lengths = np.zeros(len(documents))
        for at, document in enumerate(documents):
            frequencies = term_frequencies(document)
            lengths[at] = sum(frequencies.values())
            for term, count in frequencies.items():
                places[term].append(at)
                counts[term].append(count)
        self.postings = {term: (np.array(places[term]), np.array(counts[term], float)) for term in places}
        average = lengths.sum() / max(1, len(lengths))
        self.norms: NDArray[np.float64] = K1 * (1 - B + B * lengths / max(1.0, average))

    def best(self, query: str) -> list[tuple[int, float]]:
        scores = np.zeros(len(self.norms))
        for term in query_terms(query):
            if term in self.postings:
                found, counts = self.postings[term]
                scores[found] += idf(len(scores), len(found)) * counts / (counts + self.norms[found])
        found = np.flatnonzero(scores)
        order = found[np.lexsort((found, -scores[found]))][:DEPTH]
        return [(int(at), float(scores[at])) for at in order]
