"""Reading and writing a collection's rows in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qvec.filters import Filter
from qvec.types import Batch, Document, Vector, Vectors
from qvec_faiss.filters import compile_filter
from qvec_faiss.lexical import Counted, counted, write_postings
from qvec_faiss.mirror import Ints
from qvec_faiss.schema import Connections, Entry

IdsOf: TypeAlias = Callable[[Ints], dict[int, str]]
_COLUMNS = "id, text, metadata, source, digest"
_FEW = 100
_read_json = json.JSONDecoder().raw_decode
_write_json = json.JSONEncoder(ensure_ascii=False).encode
_AMONG = "(SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can be worked out of documents before the write lock is taken."""

    tokens: Counted
    metadata: list[str]


def prepare(documents: Sequence[Document]) -> Prepared:
    """Count tokens and write metadata as JSON."""
    return Prepared(counted(documents), [_write_json(document.metadata) for document in documents])


def replace(
    connection: sqlite3.Connection, number: int, documents: Sequence[Document], vectors: Vectors, prepared: Prepared
) -> None:
    """Write documents under new seqs, after taking away what had their ids."""
    delete(connection, number, [document.id for document in documents])
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (f"documents_{number:d}",)).fetchone()
    first = (row[0] if row else 0) + 1
    seqs = range(first, first + len(documents))
    connection.executemany(
        f"INSERT INTO documents_{number:d} VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (seq, document.id, document.source, document.digest, document.text, metadata, length)
            for seq, document, metadata, length in zip(
                seqs, documents, prepared.metadata, prepared.tokens.lengths, strict=True
            )
        ),
    )
    connection.executemany(
        f"INSERT INTO vectors_{number:d} VALUES (?, ?)", zip(seqs, vectors.astype("<f4", copy=False), strict=True)
    )
    write_postings(connection, number, seqs, prepared.tokens)


def delete(connection: sqlite3.Connection, number: int, ids: Sequence[str]) -> None:
    """Take records away and log their seqs as dead; their postings are passed over from then on."""
    sql = f"SELECT seq FROM documents_{number:d} WHERE id IN {_AMONG}"
    dead = connection.execute(sql, (json.dumps(list(ids)),)).fetchall()
    for table in ("documents", "vectors"):
        connection.executemany(f"DELETE FROM {table}_{number:d} WHERE seq = ?", dead)
    connection.executemany(f"INSERT INTO dead_{number:d} (seq) VALUES (?)", dead)


def by_id(connection: sqlite3.Connection, number: int, ids: Sequence[str]) -> dict[str, Document]:
    """Read records by id."""
    sql = f"SELECT {_COLUMNS} FROM documents_{number:d} WHERE id IN {_AMONG}"
    found = connection.execute(sql, (json.dumps(list(ids)),)).fetchall()
    return {document.id: document for document in _documents(found)}


def vectors_of(connection: sqlite3.Connection, number: int, ids: Sequence[str]) -> dict[str, Vector]:
    """Read vectors by the ids of their records."""
    sql = f"SELECT id, vector FROM documents_{number:d} JOIN vectors_{number:d} USING (seq) WHERE id IN {_AMONG}"
    found = connection.execute(sql, (json.dumps(list(ids)),))
    return {identity: np.frombuffer(raw, "<f4").astype(np.float32) for identity, raw in found}


def by_seq(connection: sqlite3.Connection, number: int, seqs: Sequence[int]) -> dict[int, Document]:
    """Read records by seq."""
    among, bound = _among(seqs)
    sql = f"SELECT {_COLUMNS}, seq FROM documents_{number:d} WHERE seq IN {among}"
    found = connection.execute(sql, bound).fetchall()
    return {row[-1]: document for row, document in zip(found, _documents(found), strict=True)}


def ids_of(connection: sqlite3.Connection, number: int, seqs: Ints) -> dict[int, str]:
    """Read the ids of seqs; what is gone has none."""
    sql = f"SELECT seq, id FROM documents_{number:d} WHERE seq IN {_AMONG}"
    return dict(connection.execute(sql, (json.dumps(seqs.tolist()),)))


def ids_by(connections: Connections, entry: Entry) -> IdsOf:
    """Return what reads the ids of a collection's seqs, when it is asked."""

    def look_up(seqs: Ints) -> dict[int, str]:
        with connections.read() as connection:
            return ids_of(connection, entry.number, seqs)

    return look_up


def digests(connection: sqlite3.Connection, number: int, sources: Iterable[str]) -> dict[str, str]:
    """Read the digests of all records of these sources."""
    sql = f"SELECT id, digest FROM documents_{number:d} WHERE source IN {_AMONG}"
    return dict(connection.execute(sql, (json.dumps(list(sources)),)))


def seqs_where(connection: sqlite3.Connection, number: int, filter: Filter) -> Ints:
    """Find the seqs that a filter matches, ascending."""
    condition, parameters = compile_filter(filter)
    sql = f"SELECT seq FROM documents_{number:d} WHERE {condition} ORDER BY seq"
    return np.array([row[0] for row in connection.execute(sql, parameters)], np.int64)


def last_seq(connection: sqlite3.Connection, number: int) -> int:
    """Return the highest seq there is."""
    return int(connection.execute(f"SELECT coalesce(max(seq), 0) FROM documents_{number:d}").fetchone()[0])


def page(
    connection: sqlite3.Connection,
    entry: Entry,
    filter: Filter | None,
    *,
    after: int,
    last: int,
    size: int,
    vectors: bool,
) -> tuple[int, Batch] | None:
    """Read the next records in order of seq, and the seq to go on after; None at the end."""
    condition, parameters = compile_filter(filter)
    columns = f"{_COLUMNS}, documents.seq" + (", vector" if vectors else "")
    join = f"JOIN vectors_{entry.number:d} AS vectors ON vectors.seq = documents.seq" if vectors else ""
    sql = (
        f"SELECT {columns} FROM documents_{entry.number:d} AS documents {join} "
        f"WHERE documents.seq > ? AND documents.seq <= ? AND {condition} ORDER BY documents.seq LIMIT ?"
    )
    found = connection.execute(sql, (after, last, *parameters, size)).fetchall()
    if not found:
        return None
    matrix = np.frombuffer(b"".join(row[6] for row in found), "<f4").reshape(-1, entry.spec.dim) if vectors else None
    return found[-1][5], Batch(_documents(found), None if matrix is None else matrix.astype(np.float32))


def _among(seqs: Sequence[int]) -> tuple[str, Sequence[object]]:
    """Bind a few values one by one, which is faster, and many as one list."""
    if len(seqs) <= _FEW:
        return f"({', '.join('?' * len(seqs))})", seqs
    return _AMONG, (json.dumps(list(seqs)),)


def _documents(found: Sequence[tuple[str, ...]]) -> list[Document]:
    """Make documents of the columns `_COLUMNS`; their metadata is read as one list, which takes half as long."""
    metadata, _ = _read_json(f"[{','.join([row[2] for row in found])}]")
    return [Document(row[0], row[1], given, row[3], row[4]) for row, given in zip(found, metadata, strict=True)]
