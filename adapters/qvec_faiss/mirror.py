"""What a connection keeps in memory of a collection: seqs, lengths and, for exact search, the vectors."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qvec.types import Metric, Vectors

Ints = NDArray[np.int64]
_COMPACT_SHARE = 0.25
_DENSE = 4
_PAGE = 256  # rows that stay in the processor's cache while they are prepared


@dataclass(frozen=True, slots=True)
class Mirror:
    """A snapshot of a collection; never changed in place, so any thread may go on using it.

    Attributes:
        seqs: ascending.
        lengths: number of tokens of each.
        alive: false where the document was replaced or deleted since.
        vectors: ``(n, dim)``, of unit length under cosine; empty until `with_vectors`.
        last_seq, last_dead: how far the tables were read.
    """

    seqs: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    lengths: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    alive: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    vectors: Vectors | None = None
    last_seq: int = 0
    last_dead: int = 0

    @property
    def live_seqs(self) -> Ints:
        return self.seqs if self.alive.all() else self.seqs[self.alive]

    @property
    def live_lengths(self) -> Ints:
        return self.lengths if self.alive.all() else self.lengths[self.alive]


def catch_up(connection: sqlite3.Connection, number: int, mirror: Mirror, dim: int, metric: Metric) -> Mirror:
    """Read what was written since, inside one transaction of the caller's; cheap when nothing was."""
    last_dead = _last_dead(connection, number)
    (last_seq,) = connection.execute(f"SELECT coalesce(max(seq), 0) FROM documents_{number:d}").fetchone()
    if last_seq <= mirror.last_seq and last_dead == mirror.last_dead:
        return mirror
    if _is_trimmed(connection, number, mirror.last_dead, last_dead):
        mirror = Mirror(last_dead=last_dead)
    mirror = _bury(connection, number, mirror, last_dead)
    if last_seq > mirror.last_seq:
        mirror = _append(connection, number, mirror, last_seq, dim, metric)
    return mirror


def with_vectors(connection: sqlite3.Connection, number: int, mirror: Mirror, dim: int, metric: Metric) -> Mirror:
    """Load the vectors when they are not there yet, in the transaction that the mirror was caught up in."""
    if mirror.vectors is not None:
        return mirror
    seqs = mirror.live_seqs
    return replace(
        mirror,
        seqs=seqs,
        lengths=mirror.live_lengths,
        alive=np.ones(len(seqs), np.bool_),
        vectors=read_vectors(connection, number, seqs, dim, metric)[1],
    )


def read_vectors(
    connection: sqlite3.Connection, number: int, seqs: Ints, dim: int, metric: Metric
) -> tuple[Ints, Vectors]:
    """Read the vectors of ascending seqs from the store, ready to be compared; returns those that are still there."""
    if not len(seqs):
        return seqs, np.empty((0, dim), np.float32)
    if seqs[-1] - seqs[0] < _DENSE * len(seqs):
        sql = f"SELECT seq, vector FROM vectors_{number:d} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        found = connection.execute(sql, (int(seqs[0]), int(seqs[-1])))
    else:
        sql = f"SELECT seq, vector FROM vectors_{number:d} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        found = connection.execute(sql, (json.dumps(seqs.tolist()),))
    wanted, there = set(seqs.tolist()), list[int]()
    matrix = np.empty((len(seqs), dim), np.float32)
    while page := found.fetchmany(_PAGE):
        rows = [row for row in page if row[0] in wanted]
        block = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(-1, dim)
        matrix[len(there) : len(there) + len(rows)] = prepared(block, metric)
        there += (row[0] for row in rows)
    return np.array(there, np.int64), matrix[: len(there)]


def prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """Scale rows to unit length under cosine; a zero row stays zero."""
    if metric is not Metric.COSINE:
        return np.ascontiguousarray(vectors, np.float32)
    norms = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))  # as np.linalg.norm, at half its price
    norms[norms == 0] = 1
    return np.ascontiguousarray(vectors / norms, np.float32)


def _last_dead(connection: sqlite3.Connection, number: int) -> int:
    """Return the number of the last entry that the log of deaths ever had; SQLite keeps it when the log is emptied."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (f"dead_{number:d}",)).fetchone()
    return int(row[0]) if row else 0


def _is_trimmed(connection: sqlite3.Connection, number: int, seen: int, last_dead: int) -> bool:
    """Tell whether entries that were not read yet are no longer in the log."""
    if seen == last_dead:
        return False
    sql = f"SELECT count(*) FROM dead_{number:d} WHERE entry > ?"
    return int(connection.execute(sql, (seen,)).fetchone()[0]) < last_dead - seen


def _bury(connection: sqlite3.Connection, number: int, mirror: Mirror, last_dead: int) -> Mirror:
    sql = f"SELECT seq FROM dead_{number:d} WHERE entry > ? AND entry <= ?"
    dead = np.array([row[0] for row in connection.execute(sql, (mirror.last_dead, last_dead))], np.int64)
    alive = mirror.alive & ~np.isin(mirror.seqs, dead)
    mirror = replace(mirror, alive=alive, last_dead=last_dead)
    if len(alive) and 1 - alive.mean() > _COMPACT_SHARE:
        mirror = replace(
            mirror,
            seqs=mirror.seqs[alive],
            lengths=mirror.lengths[alive],
            alive=np.ones(int(alive.sum()), np.bool_),
            vectors=None if mirror.vectors is None else mirror.vectors[alive],
        )
    return mirror


def _append(
    connection: sqlite3.Connection, number: int, mirror: Mirror, last_seq: int, dim: int, metric: Metric
) -> Mirror:
    sql = f"SELECT seq, tokens FROM documents_{number:d} WHERE seq > ? AND seq <= ? ORDER BY seq"
    rows = np.array(connection.execute(sql, (mirror.last_seq, last_seq)).fetchall(), np.int64).reshape(-1, 2)
    seqs = np.ascontiguousarray(rows[:, 0])
    vectors = mirror.vectors
    if vectors is not None:
        vectors = np.concatenate([vectors, read_vectors(connection, number, seqs, dim, metric)[1]])
    return replace(
        mirror,
        seqs=np.concatenate([mirror.seqs, seqs]),
        lengths=np.concatenate([mirror.lengths, rows[:, 1]]),
        alive=np.concatenate([mirror.alive, np.ones(len(seqs), np.bool_)]),
        vectors=vectors,
        last_seq=last_seq,
    )
