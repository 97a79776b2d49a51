"""Reading and writing a collection's rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import numpy as np
from psycopg import sql

from qvec.filters import Filter
from qvec.types import Batch, Document, Vector, Vectors
from qvec_pgvector import load
from qvec_pgvector.connections import Connection
from qvec_pgvector.filters import compile_filter
from qvec_pgvector.schema import Entry

_read_json = json.JSONDecoder().raw_decode

COLUMNS = sql.SQL("id, source, digest, body, coalesce(metadata_json, metadata::text)")

_STAGED = sql.Identifier("pg_temp", "qvec_staged")

_STAGING = """
CREATE TEMPORARY TABLE qvec_staged ON COMMIT DROP AS SELECT * FROM {} WITH NO DATA;
ALTER TABLE pg_temp.qvec_staged ALTER tokens TYPE text
"""

_ANALYZED = """
WITH added AS (
    INSERT INTO {table} ({columns})
    SELECT id, source, digest, body, metadata, metadata_json, words, length, zero, embedding
    FROM {staged}, LATERAL (SELECT to_tsvector(%s::text::regconfig, tokens) AS words OFFSET 0) AS cut,
        LATERAL (SELECT coalesce(sum(cardinality(positions)), 0) AS length FROM unnest(words)) AS counted
    RETURNING token_count)
SELECT coalesce(sum(token_count), 0) FROM added
"""


def write(connection: Connection, entry: Entry, documents: Sequence[Document], vectors: Vectors) -> None:
    """Replace documents by id, inside a transaction that holds the collection's row in the catalogue."""
    gone, gone_tokens = remove(connection, entry, [document.id for document in documents])
    if entry.spec.analyzer is None:
        batch = load.Load(documents, vectors, half=entry.kind == "halfvec")
        _copy(connection, entry.table, batch)
        tokens = batch.tokens
    else:
        connection.raw.execute(sql.SQL(_STAGING).format(entry.table))
        _copy(connection, _STAGED, load.Load(documents, vectors, half=entry.kind == "halfvec", cut=False))
        tokens = _analyze(connection, entry, entry.spec.analyzer)
    _count(connection, entry, len(documents) - gone, tokens - gone_tokens)


def _copy(connection: Connection, table: sql.Identifier, batch: load.Load) -> None:
    copy_in = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, sql.SQL(load.COLUMNS))
    cursor = connection.raw.cursor()
    # libpq keeps for itself what the socket does not take, so both sides work at once; a thread that writes would wait
    # for the interpreter's lock at every block.
    with cursor.copy(copy_in) as copy:
        for block in batch.blocks():
            copy.write(block)


def _analyze(connection: Connection, entry: Entry, configuration: str) -> int:
    """Move the staged rows into the table with the words of their texts; return how many words they have."""
    columns = sql.SQL(load.COLUMNS)
    statement = sql.SQL(_ANALYZED).format(table=entry.table, columns=columns, staged=_STAGED)
    row = connection.raw.execute(statement, (configuration,)).fetchone()
    connection.raw.execute(sql.SQL("DROP TABLE {}").format(_STAGED))
    return int(str(row[0])) if row else 0


def delete(connection: Connection, entry: Entry, ids: Sequence[str]) -> None:
    """Delete records by id, inside a transaction that holds the collection's row in the catalogue."""
    gone, gone_tokens = remove(connection, entry, ids)
    _count(connection, entry, -gone, -gone_tokens)


def remove(connection: Connection, entry: Entry, ids: Sequence[str]) -> tuple[int, int]:
    """Delete records; return how many there were and how many tokens they had."""
    statement = sql.SQL(
        "WITH gone AS (DELETE FROM {} WHERE id = ANY(%s::text[]) RETURNING token_count) "
        "SELECT count(*), coalesce(sum(token_count), 0) FROM gone"
    ).format(entry.table)
    row = connection.raw.execute(statement, (list(ids),)).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def by_id(connection: Connection, entry: Entry, ids: Sequence[str]) -> dict[str, Document]:
    """Read records by id."""
    statement = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%s::text[])").format(COLUMNS, entry.table)
    found = documents(connection.raw.execute(statement, (list(ids),)).fetchall())
    return {document.id: document for document in found}


def vectors_of(connection: Connection, entry: Entry, ids: Sequence[str]) -> dict[str, Vector]:
    """Read vectors by the ids of their records."""
    statement = sql.SQL("SELECT id, embedding::real[] FROM {} WHERE id = ANY(%s::text[])").format(entry.table)
    with connection.raw.cursor(binary=True) as cursor:
        found = cursor.execute(statement, (list(ids),)).fetchall()
    return {str(identity): np.array(vector, np.float32) for identity, vector in found}


def digests(connection: Connection, entry: Entry, sources: Sequence[str]) -> dict[str, str]:
    """Read the digests of all records of these sources."""
    statement = sql.SQL("SELECT id, digest FROM {} WHERE source = ANY(%s::text[])").format(entry.table)
    return {str(row[0]): str(row[1]) for row in connection.raw.execute(statement, (list(sources),))}


def count(connection: Connection, entry: Entry, filter: Filter | None) -> int:
    """Count the records that match."""
    if filter is None:
        row = connection.raw.execute(
            "SELECT documents FROM qvec_collections WHERE number = %s", (entry.number,)
        ).fetchone()
    else:
        condition, values = compile_filter(filter)
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(entry.table, condition)
        row = connection.raw.execute(statement, values).fetchone()
    return int(str(row[0])) if row else 0


def page(
    connection: Connection, entry: Entry, *, filter: Filter | None, after: str | None, size: int, vectors: bool
) -> Batch | None:
    """Read the next records in order of id; None at the end."""
    condition, values = compile_filter(filter)
    last = sql.SQL(", embedding::real[]") if vectors else sql.SQL("")
    beyond = sql.SQL("true") if after is None else sql.SQL("id > %s")
    statement = sql.SQL("SELECT {}{} FROM {} WHERE {} AND {} ORDER BY id LIMIT %s").format(
        COLUMNS, last, entry.table, beyond, condition
    )
    bound = [*([] if after is None else [after]), *values, size]
    with connection.raw.cursor(binary=True) as cursor:
        found = cursor.execute(statement, bound).fetchall()
    if not found:
        return None
    matrix = np.array([row[5] for row in found], np.float32) if vectors else None
    return Batch(documents(found), matrix)


def documents(found: Sequence[Sequence[object]]) -> list[Document]:
    """Make documents of rows that start with `COLUMNS`; their metadata is read as one list, in half the time."""
    rows = cast(Sequence[tuple[str, str, str, str, str]], found)
    metadata, _ = _read_json(f"[{','.join([row[4] for row in rows])}]")
    return [Document(row[0], row[3], given, row[1], row[2]) for row, given in zip(rows, metadata, strict=True)]


def _count(connection: Connection, entry: Entry, documents: int, tokens: int) -> None:
    connection.raw.execute(
        "UPDATE qvec_collections SET documents = documents + %s, tokens = tokens + %s WHERE number = %s",
        (documents, tokens, entry.number),
    )
