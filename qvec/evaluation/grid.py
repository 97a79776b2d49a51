"""Judged sets over databases, models, dims and modes: each combination measured, one row each."""

from __future__ import annotations

import logging
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from qvec.collection import Collection
from qvec.database import connect
from qvec.errors import InvalidInputError
from qvec.evaluation.metrics import measure
from qvec.evaluation.sets import JudgedSet
from qvec.retrieval import Mode
from qvec.uri import without_secrets

_logger = logging.getLogger(__name__)
MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")


@dataclass(frozen=True, slots=True)
class Row:
    """What one combination reached.

    Attributes:
        set: name of the judged set.
        backend: as it was asked for, its secrets as stars.
        model: its name.
        dim: of its vectors.
        mode: ``"dense"``, ``"lexical"`` or ``"hybrid"``.
        documents: records in the collection.
        queries: how many were asked.
        p50_ms: the median time of a search.
        figures: metric -> figure.
    """

    set: str
    backend: str
    model: str
    dim: int
    mode: Mode
    documents: int
    queries: int
    p50_ms: float
    figures: Mapping[str, float]


def evaluate(
    judged: JudgedSet,
    *,
    backends: Sequence[str] = ("memory",),
    models: Sequence[str | None] = (None,),
    dims: Sequence[int | None] = (None,),
    modes: Sequence[Mode] = MODES,
    ks: Sequence[int] = (10,),
    instruction: str | None = None,
    rerank: str | None = None,
) -> Iterator[Row]:
    """Index the set's corpus in each database with each model and dim, ask its queries in each mode, and drop it again.

    No text is embedded twice by one model at one dim, however many databases there are.

    Args:
        judged: the set.
        backends: URIs, names of backends or of profiles.
        models: names of models; None for the configured one.
        dims: widths to cut to; None for the model's own.
        modes: of the search.
        ks: depths to measure at.
        instruction: of the queries, a preset's name or a sentence.
        rerank: a reranker over each mode's hits.

    Yields:
        A row a combination, as soon as it is measured.

    Raises:
        InvalidInputError: a `k` below 1.
        QvecError: as `qvec.connect`, `Collection.index` and `Collection.search` say.
    """
    with tempfile.TemporaryDirectory(prefix="qvec-eval-") as cache:
        for model in models:
            for dim in dims:
                for backend in backends:
                    with _indexed(judged, backend, model, dim, cache) as collection:
                        yield from evaluate_collection(
                            collection,
                            judged,
                            backend=backend,
                            modes=modes,
                            ks=ks,
                            instruction=instruction,
                            rerank=rerank,
                        )


def evaluate_collection(
    collection: Collection,
    judged: JudgedSet,
    *,
    backend: str = "",
    modes: Sequence[Mode] = MODES,
    ks: Sequence[int] = (10,),
    instruction: str | None = None,
    rerank: str | None = None,
) -> Iterator[Row]:
    """Ask a collection that holds the set's documents, under their ids or as parts of them.

    Yields:
        A row a mode.

    Raises:
        InvalidInputError: a `k` below 1.
        QvecError: as `Collection.search` says.
    """
    if not ks or min(ks) < 1:
        raise InvalidInputError(f"k={list(ks)}: takes numbers from 1")
    documents = collection.count()
    for mode in modes:
        run: dict[str, list[str]] = {}
        times: list[float] = []
        for identity, text in judged.queries.items():
            started = time.perf_counter()
            run[identity] = _sources(collection, text, max(ks), mode, instruction, rerank)
            times.append(time.perf_counter() - started)
        embedder = collection.embedder
        yield Row(
            judged.name,
            without_secrets(backend),
            embedder.model_id,
            embedder.dim,
            mode,
            documents,
            len(run),
            1000 * sorted(times)[len(times) // 2],
            measure(run, judged.qrels, ks),
        )


@contextmanager
def _indexed(judged: JudgedSet, backend: str, model: str | None, dim: int | None, cache: str) -> Iterator[Collection]:
    """Index a corpus under a name of its own, for as long as it is needed."""
    with connect(backend, model=model, dim=dim, cache=cache) as database:
        collection = database.collection(f"qvec_eval_{secrets.token_hex(4)}")
        try:
            report = collection.index(judged.corpus())
            for identity, reason in report.failed.items():
                _logger.warning("%s: document %r was not indexed: %s", without_secrets(backend), identity, reason)
            yield collection
        finally:
            collection.drop(missing_ok=True)


def _sources(
    collection: Collection, query: str, k: int, mode: Mode, instruction: str | None, rerank: str | None
) -> list[str]:
    """Name the best `k` documents, each once, however many of its parts are hits."""
    wanted = k
    while True:
        hits = collection.search(query, k=wanted, mode=mode, instruction=instruction, rerank=rerank)
        found = list(dict.fromkeys(hit.document.source for hit in hits))
        if len(found) >= k or len(hits) < wanted:
            return found[:k]
        wanted *= 4
