"""The dense leg's state: each collection's mirror and index, caught up at every search with what any process wrote."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qvec.filters import Filter
from qvec.types import Vectors
from qvec_faiss import ann, rows
from qvec_faiss.ann import Ann
from qvec_faiss.growth import Growth, missing
from qvec_faiss.mirror import Ints, Mirror, catch_up, prepared, read_vectors, with_vectors
from qvec_faiss.schema import Connections, Entry
from qvec_faiss.search import Ranked, best_first, exact, in_order, score

_EXACT_SHARE = 0.05
_EXACT_AT_MOST = 2000
_TIES = 32


@dataclass(frozen=True, slots=True)
class _Coverage:
    """Which of the live documents an index holds, and which it does not yet; kept while neither changes."""

    mirror: Mirror
    index: Ann
    inside: Ints
    tail: Ints


@dataclass(slots=True)
class _State:
    lock: threading.Lock = field(default_factory=threading.Lock)
    mirror: Mirror = field(default_factory=Mirror)
    index: Ann | None = None
    tried: bool = False
    coverage: _Coverage | None = None


class DenseLeg:
    """Searches vectors; safe to use from several threads."""

    def __init__(self, connections: Connections, *, device: str) -> None:
        self._connections = connections
        self._gpu = ann.gpus(device) > 0
        self._states: dict[int, _State] = {}
        self._lock = threading.Lock()
        self._growth = Growth(connections, self.mirror, self._current)

    def forget(self, entry: Entry) -> None:
        """Let go of a dropped collection and its snapshot."""
        self._growth.forget(entry)
        with self._lock:
            self._states.pop(entry.number, None)
        with self._connections.mapped:
            self._snapshot(entry).unlink(missing_ok=True)

    def mirror(self, entry: Entry) -> Mirror:
        """Return the collection's mirror, caught up."""
        state = self._state(entry)

        def read() -> Mirror:
            with state.lock, self._connections.snapshot() as connection:
                state.mirror = catch_up(connection, entry.number, state.mirror, entry.spec.dim, entry.spec.metric)
                return state.mirror

        return self._connections.unchanged(entry.number, read)

    def grow(self, entry: Entry) -> None:
        """Take note that documents were written: a graph that will be needed starts to grow."""
        self._growth.start(entry)

    def refresh(self, entry: Entry) -> None:
        """Bring the index up to date when there is none or it has fallen behind, and save its snapshot."""
        live = self.mirror(entry).live_seqs
        state = self._state(entry)
        flat = ann.kind_for(entry.spec, len(live)) == "flat"
        if not len(live) or (flat and not self._gpu):
            return
        with state.lock:
            self._load(entry, state)
            index = state.index
        if not ann.is_stale(index, live):
            return
        grown = self._growth.finish(entry) or (None if index is None else ann.clone(index))
        with self._connections.read() as connection:
            if grown is not None and ann.may_grow(grown, live):
                built = ann.extend(grown, connection, entry.number, entry.spec, missing(grown, live))
            else:
                built = ann.build(connection, entry.number, entry.spec, live, gpu=self._gpu)
        with state.lock:
            state.index = built
            if not flat:
                ann.save(built, self._snapshot(entry))

    def close(self) -> None:
        """Stop growing."""
        self._growth.close()

    def search(
        self, entry: Entry, mirror: Mirror, vectors: Vectors, k: int, filter: Filter | None, ef: int | None
    ) -> list[Ranked]:
        """Rank the nearest records of each query as (seq, score), best first, ties by id; `mirror` is caught up."""
        queries = prepared(vectors, entry.spec.metric)
        state = self._state(entry)
        coverage = state.coverage
        if filter is None and coverage is not None and coverage.mirror is mirror and coverage.index is state.index:
            return self._approximate(entry, coverage, queries, k, ef)
        live = mirror.live_seqs
        allowed = None if filter is None else self._allowed(entry, filter)
        wanted = live if allowed is None else np.intersect1d(live, allowed, assume_unique=True)
        if ann.kind_for(entry.spec, len(live)) != "flat":
            with state.lock:
                self._load(entry, state)
        index = state.index
        narrow = len(wanted) <= max(k, _EXACT_AT_MOST, _EXACT_SHARE * len(live)) and allowed is not None
        if index is None or (index.on_gpu and allowed is not None):
            return self._exact(entry, state, queries, wanted, k)
        if narrow:
            return self._read_and_rank(entry, queries, wanted, k)
        coverage = _cover(mirror, index, wanted)
        if allowed is None:
            state.coverage = coverage
        return self._approximate(entry, coverage, queries, k, ef)

    def _allowed(self, entry: Entry, filter: Filter) -> Ints:
        with self._connections.read() as connection:
            return rows.seqs_where(connection, entry.number, filter)

    def _exact(self, entry: Entry, state: _State, queries: Vectors, wanted: Ints, k: int) -> list[Ranked]:
        with state.lock, self._connections.snapshot() as connection:
            caught_up = catch_up(connection, entry.number, state.mirror, entry.spec.dim, entry.spec.metric)
            mirror = with_vectors(connection, entry.number, caught_up, entry.spec.dim, entry.spec.metric)
            state.mirror = mirror
        assert mirror.vectors is not None
        ids_of = rows.ids_by(self._connections, entry)
        if len(wanted) == len(mirror.seqs):
            return exact(queries, mirror.vectors, mirror.seqs, k, entry.spec.metric, ids_of)
        places = np.flatnonzero(np.isin(mirror.seqs, wanted))
        return exact(queries, mirror.vectors[places], mirror.seqs[places], k, entry.spec.metric, ids_of)

    def _read_and_rank(self, entry: Entry, queries: Vectors, wanted: Ints, k: int) -> list[Ranked]:
        with self._connections.read() as connection:
            seqs, vectors = read_vectors(connection, entry.number, wanted, entry.spec.dim, entry.spec.metric)
        return exact(queries, vectors, seqs, k, entry.spec.metric, rows.ids_by(self._connections, entry))

    def _approximate(self, entry: Entry, coverage: _Coverage, queries: Vectors, k: int, ef: int | None) -> list[Ranked]:
        index, inside, tail = coverage.index, coverage.inside, coverage.tail
        depth = min(k + _TIES, len(inside))
        allowed = None if len(inside) == len(index.seqs) or index.on_gpu else inside
        with self._connections.mapped:
            scores, found = ann.search(index, queries, max(depth, 1), allowed, ef)
        answers: list[Ranked] = []
        ids_of = rows.ids_by(self._connections, entry)
        for query, near, rough in zip(queries, found, scores, strict=True):
            complete = len(near) >= depth and bool(near[depth - 1] >= 0)  # what is not found is last
            if complete and not len(tail):
                answers.append(best_first(near, rough, k, entry.spec.metric, ids_of))
                continue
            # The graph was cut off by the filter, or some documents are not in it yet: look at the vectors themselves.
            chosen = np.union1d(near[near >= 0] if complete else inside, tail)
            with self._connections.read() as connection:
                seqs, vectors = read_vectors(connection, entry.number, chosen, entry.spec.dim, entry.spec.metric)
            answers.append(in_order(seqs, score(query, vectors, entry.spec.metric), k, ids_of))
        return answers

    def _current(self, entry: Entry) -> Ann | None:
        state = self._state(entry)
        with state.lock:
            self._load(entry, state)
            return state.index

    def _load(self, entry: Entry, state: _State) -> None:
        if state.index is None and not state.tried:
            state.tried = True
            state.index = ann.load(self._snapshot(entry), entry.spec, state.mirror.last_seq)

    def _state(self, entry: Entry) -> _State:
        found = self._states.get(entry.number)
        if found is not None:
            return found
        with self._lock:
            return self._states.setdefault(entry.number, _State())

    def _snapshot(self, entry: Entry) -> Path:
        return self._connections.folder / f"{entry.number}.faiss"


def _cover(mirror: Mirror, index: Ann, wanted: Ints) -> _Coverage:
    covered = np.isin(wanted, index.seqs, assume_unique=True)
    return _Coverage(mirror, index, wanted[covered], wanted[~covered])
