"""Both legs' answers over sets of prose and code, and over small collections cut from them."""

from __future__ import annotations

import pickle
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundled_model.evaluation import DEPTH, Run, Task, dense_run, load_tasks, measure, read_folder
from benchmarks.bundled_model.places import cache, shared_data
from qvec.embedders.bundled import BundledEmbedder
from qvec.evaluation.sets import read_set
from qvec.lexical import K1, B, idf, query_terms, term_frequencies
from qvec.translation import with_english

QUERIES = 600
SMALL = 25
SMALL_QUERIES = 96
_SPLITS = {
    "cmrc2018": None,
    "drcd": None,
    "limit_small": None,
    "pyfaq": None,
    "scifact": "test",
    "nl2bash": None,
    "paddle_api_zh": None,
    "xeutils_js": None,
}
_FOLDERS = {
    "pyapi_zh": ("en", "zh"),
    "xquad": ("en", "zh"),
    "humaneval_ml": ("en", "zh"),
    "mconala": ("en",),
}
_UNSEEN = ("nl2bash", "paddle_api_zh", "xeutils_js", "humaneval_ml", "mconala", "xquad/en")
_CUT = (
    "mbpp_zh", "lancet_go", "pyfaq", "cmrc2018", "paddle_api_zh", "scifact", "cosqa/dev", "zh_pydoc", "hutool_zh",
    "pyhow_zh/", "xeutils_js", "nl2bash", "tldr/en", "tldr/zh",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Legs:
    """Hold one task's rankings by each leg, `DEPTH` deep; `documents` is the size of a collection asked."""

    task: Task
    dense: Run
    lexical: Run
    documents: int

    @property
    def seen(self) -> bool:
        """Whether the numbers of the weight may be chosen by looking at it."""
        return not self.task.name.removeprefix("small:").startswith(_UNSEEN)

    def better(self) -> float:
        """Return the nDCG@10 of the better leg."""
        return max(measure(self.task, run)["ndcg@10"] for run in (self.dense, self.lexical))


def ask() -> Iterator[Legs]:
    """Ask both legs every sampled query; what they answered is kept for `kept`."""
    answered = []
    model = BundledEmbedder()
    corpus: list[str] = []
    for task in _tasks():
        if task.documents != corpus:
            corpus, index, vectors = task.documents, _Index(task.documents), model.encode_document(task.documents)
        dense = dense_run(model.encode_query(task.queries), vectors)
        found = [Legs(task, dense, [index.best(with_english(query)) for query in task.queries], len(corpus))]
        if task.name.startswith(_CUT):
            found.append(_small(model, task))
        answered += [replace(legs, task=replace(legs.task, documents=[])) for legs in found]
        yield from found
    with _kept_at().open("wb") as file:
        pickle.dump(answered, file)


def kept() -> list[Legs]:
    """Read what both legs answered the last time, the documents left out.

    Raises:
        FileNotFoundError: the step ``weights`` has not asked them.
    """
    if not _kept_at().exists():
        raise FileNotFoundError(f"{_kept_at()}: run python -m benchmarks.bundled_model weights")
    with _kept_at().open("rb") as file:
        answered: list[Legs] = pickle.load(file)
    return answered


def _kept_at() -> Path:
    return cache() / "legs.pkl"


def _tasks() -> list[Task]:
    tasks = [_judged(name, split) for name, split in _SPLITS.items()] + load_tasks()
    for name, languages in _FOLDERS.items():
        tasks += read_folder(name, by="lang", only=languages)
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


def _small(model: BundledEmbedder, task: Task) -> Legs:
    """Ask each dozen queries of a collection of their best documents and as many others."""
    rng = random.Random(0)
    order = rng.sample(range(len(task.queries)), min(SMALL_QUERIES, len(task.queries)))
    asked = Task(f"small:{task.name}", [], [task.queries[at] for at in order], [])
    dense: Run = []
    lexical: Run = []
    for start in range(0, len(order), SMALL // 2):
        group = order[start : start + SMALL // 2]
        chosen = {max(own, key=own.__getitem__) for own in (task.relevant[at] for at in group)}
        others = rng.sample(range(len(task.documents)), 2 * SMALL)
        chosen |= set([id for id in others if id not in chosen][: SMALL - len(chosen)])
        place = {id: at for at, id in enumerate(sorted(chosen))}
        texts = [task.documents[id] for id in place]
        queries = [task.queries[at] for at in group]
        dense += dense_run(model.encode_query(queries), model.encode_document(texts))
        index = _Index(texts)
        lexical += [index.best(with_english(query)) for query in queries]
        grades = (task.relevant[at] for at in group)
        asked.relevant.extend({place[id]: own[id] for id in own if id in place} for own in grades)
    return Legs(asked, dense, lexical, SMALL)


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
