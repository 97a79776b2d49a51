"""What an attached table's rows become: records with vectors and tokens, written beside the rows they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from qvec.documents import split_document
from qvec.embedder import Embedder
from qvec.migrate.fields import join_id
from qvec.migrate.pg_load import Loading, Written
from qvec.migrate.pg_table import PgTable
from qvec.migrate.source import Record
from qvec.migrate.writing import Preparer
from qvec.types import Document, Vector

if TYPE_CHECKING:
    import sqlalchemy as sa

_EMPTY, _TOO_LONG = "its text is empty or white space only", "its text is over the model's window"
LASTING = (_EMPTY, _TOO_LONG)
"""Reasons that only another text can take away."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: its key as text, and what qvec makes of it."""

    key: tuple[str, ...]
    id: str
    text: str
    document: Document
    digest: str

    @classmethod
    def read(cls, found: Sequence[object]) -> Row:
        """Make one of a page's columns."""
        key, text, metadata = found
        assert isinstance(key, list)
        identity = join_id(key)
        document = Document(identity, str(text), json.loads(str(metadata)))
        digest = hashlib.blake2b(document.searchable_text.encode(), digest_size=16).hexdigest()
        return cls(tuple(key), identity, str(text), document, digest)


@dataclass(slots=True)
class Outcome:
    """What a batch did, in rows."""

    embedded: int = 0
    unchanged: int = 0
    failed: int = 0


Part: TypeAlias = tuple[Document, int]
"""A record of a row, and where its text starts in the row's, from 1."""


@dataclass(frozen=True, slots=True)
class Made:
    """What rows became: those that changed, their records, vectors by record, and reasons by row."""

    changed: list[Row]
    parts: list[tuple[Row, list[Part]]]
    vectors: dict[str, Vector]
    errors: dict[str, str]

    def only(self, keys: Set[tuple[str, ...]]) -> Made:
        """Leave the rows of these keys."""
        changed = [row for row in self.changed if row.key in keys]
        ids = {row.id for row in changed}
        parts = [(row, cut) for row, cut in self.parts if row.key in keys]
        return Made(changed, parts, self.vectors, {key: why for key, why in self.errors.items() if key in ids})


class Rows:
    """Writes the rows of one attached table; a batch is one transaction with the position that it reaches."""

    def __init__(self, table: PgTable, embedder: Embedder) -> None:
        self.table = table
        self.embedder = embedder
        # A column of the table itself has room for one vector a row: what is too long for one cannot be cut there.
        self._preparer = Preparer(None, table.dim, embedder)
        self._loading = Loading(table)

    @property
    def writing(self) -> list[str]:
        """The statements that write a batch's vectors and tokens."""
        return self._loading.statements

    def write(self, connection: sa.Connection, rows: Sequence[Row], made: Made, position: str) -> Outcome:
        """Write what was made, and note how far the backfill is."""
        with connection.begin():
            busy = self.busy(connection, [row.key for row in made.changed])
            free = [row for row in rows if row.key not in busy]
            outcome = self.store(connection, free, made.only({row.key for row in free}))
            if not busy:
                self._note_position(connection, position)
        for row in (row for row in rows if row.key in busy):
            with connection.begin():
                one = self.store(connection, [row], made.only({row.key}))
            outcome = Outcome(outcome.embedded + one.embedded, outcome.unchanged, outcome.failed + one.failed)
        if busy:
            with connection.begin():
                self._note_position(connection, position)
        return outcome

    def busy(self, connection: sa.Connection, keys: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
        """Lock rows that vectors are written into, and tell those that somebody else is writing.

        Never waiting with rows in hand, one cannot be part of a deadlock with whoever writes to several rows at once.
        """
        table = self.table
        if not table.in_table or not keys:
            return set()
        names = ", ".join(f"t.{key}::text" for key in table.keys)
        select = f"SELECT ARRAY[{names}] FROM {table.source} t WHERE {table.is_among()}"
        values = {f"key_{at}": [key[at - 1] for key in keys] for at in range(1, len(table.key) + 1)}
        there = {tuple(key) for (key,) in run(connection, select, values)}
        return there - {tuple(key) for (key,) in run(connection, f"{select} FOR NO KEY UPDATE SKIP LOCKED", values)}

    def _note_position(self, connection: sa.Connection, position: str) -> None:
        statement = "UPDATE qvec_attached SET position = %(position)s WHERE number = %(number)s"
        run(connection, statement, {"position": position, "number": self.table.number})

    def make(self, rows: Sequence[Row], held: Mapping[str, str]) -> Made:
        """Embed those rows whose digest is not the one held; touches no database."""
        changed = [row for row in rows if held.get(row.id) != row.digest]
        parts = self.parts([row for row in changed if row.text.strip()])
        errors = {row.id: _EMPTY for row in changed if not row.text.strip()}
        if self.table.in_table:
            errors |= {row.id: _TOO_LONG for row, cut in parts if len(cut) > 1}
            parts = [(row, cut) for row, cut in parts if len(cut) == 1]
        vectors, refused = self._embed([part for _, cut in parts for part, _ in cut])
        errors |= {row.id: refused[part.id] for row, cut in parts for part, _ in cut if part.id in refused}
        return Made(changed, [(row, cut) for row, cut in parts if row.id not in errors], vectors, errors)

    def store(self, connection: sa.Connection, rows: Sequence[Row], made: Made) -> Outcome:
        """Write what was made, inside a transaction."""
        gone, gone_tokens = self.remove(connection, [row.key for row in made.changed], [row.id for row in made.changed])
        count, tokens = self._insert(connection, made.parts, made.vectors)
        self._note(connection, [row.id for row in rows], made.errors)
        totals(connection, self.table.number, count - gone, tokens - gone_tokens)
        return Outcome(len(made.parts), len(rows) - len(made.changed), len(made.errors))

    def forget(self, connection: sa.Connection, keys: Sequence[tuple[str, ...]]) -> None:
        """Take away the vectors of rows that were deleted, inside a transaction."""
        ids = [join_id(key) for key in keys]
        gone, tokens = self.remove(connection, keys, ids)
        totals(connection, self.table.number, -gone, -tokens)
        self._note(connection, ids, {})

    def remove(self, connection: sa.Connection, keys: Sequence[Sequence[str]], ids: Sequence[str]) -> tuple[int, int]:
        """Take the vectors of rows away; return how many records there were, and their tokens."""
        table = self.table
        if table.in_table:
            column = table.column
            blank = ", ".join(f"{column(name)} = NULL" for name in ("digest", "tokens", "embedding", "zero"))
            statement = (
                f"WITH gone AS (SELECT ctid, {column('token_count')} AS n FROM {table.source} "
                f"WHERE {column('id')} = ANY(%(ids)s) AND {column('embedding')} IS NOT NULL), "
                f"cleared AS (UPDATE {table.source} SET {blank} WHERE ctid IN (SELECT ctid FROM gone)) "
                "SELECT count(*), coalesce(sum(n), 0) FROM gone"
            )
            return _pair(connection, statement, {"ids": list(ids)})
        known = ", ".join(f"key_{at}" for at in range(1, len(table.key) + 1))
        lists = ", ".join(f"CAST(%(key_{at})s AS {kind}[])" for at, (_, kind) in enumerate(table.key, 1))
        statement = (
            f"WITH gone AS (DELETE FROM {table.companion} WHERE ({known}) IN (SELECT * FROM unnest({lists})) "
            "RETURNING token_count) SELECT count(*), coalesce(sum(token_count), 0) FROM gone"
        )
        values = {f"key_{at}": [key[at - 1] for key in keys] for at in range(1, len(table.key) + 1)}
        return _pair(connection, statement, values)

    def remove_orphans(self, connection: sa.Connection) -> int:
        """Take away the vectors of rows that the table no longer has."""
        if self.table.in_table:
            self.recount(connection)
            return 0
        with connection.begin():
            return self.let_go(connection)

    def let_go(self, connection: sa.Connection) -> int:
        """Do so inside a transaction; vectors in the table itself went with their rows, and so are 0."""
        table = self.table
        if table.in_table:
            self._recount(connection)
            return 0
        same = " AND ".join(f"t.{key} = r.key_{at}" for at, key in enumerate(table.keys, 1))
        statement = (
            f"WITH gone AS (DELETE FROM {table.companion} r WHERE NOT EXISTS (SELECT FROM {table.source} t "
            f"WHERE {same}) RETURNING token_count) SELECT count(*), coalesce(sum(token_count), 0) FROM gone"
        )
        gone, tokens = _pair(connection, statement, {})
        totals(connection, table.number, -gone, -tokens)
        return gone

    def recount(self, connection: sa.Connection) -> None:
        """Count anew what lies in the table itself: a row that is deleted takes its vector and its count along."""
        with connection.begin():
            self._recount(connection)

    def _recount(self, connection: sa.Connection) -> None:
        table = self.table
        number = {"number": table.number}
        # Locked first, so that what others commit is either seen by the count or added to it after.
        run(connection, "SELECT FROM qvec_collections WHERE number = %(number)s FOR UPDATE", number)
        count, tokens = _pair(
            connection,
            f"SELECT count(*), coalesce(sum({table.column('token_count')}), 0) FROM {table.source} "
            f"WHERE {table.column('embedding')} IS NOT NULL",
            {},
        )
        values = {"documents": count, "tokens": tokens, **number}
        run(
            connection,
            "UPDATE qvec_collections SET documents = %(documents)s, tokens = %(tokens)s WHERE number = %(number)s",
            values,
        )

    def held(self, connection: sa.Connection, rows: Sequence[Row]) -> dict[str, str]:
        """Return id -> digest of what these rows' vectors were made from."""
        column, ids = self.table.column, [row.id for row in rows]
        first = [*ids, *(f"{identity}#part1" for identity in ids)]
        found = run(
            connection,
            f"SELECT {column('id')}, {column('digest')} FROM {self.table.companion} "
            f"WHERE {column('id')} = ANY(%(ids)s) AND {column('digest')} IS NOT NULL",
            {"ids": first},
        )
        return {str(key).removesuffix("#part1"): str(digest).split("/")[0] for key, digest in found}

    def _embed(self, documents: Sequence[Document]) -> tuple[dict[str, Vector], dict[str, str]]:
        """Return id -> vector, and id -> why there is none."""
        if not documents:
            return {}, {}
        batch = self._preparer.prepare([Record(item.id, None, item) for item in documents], set())
        return {item.id: batch.vectors[at] for at, item in enumerate(batch.documents)}, batch.errors

    def parts(self, rows: Sequence[Row]) -> list[tuple[Row, list[Part]]]:
        """Cut what is over the model's window; each part with where it starts in the row's text, from 1."""
        found = []
        for row in rows:
            at, places = 0, []
            for part in split_document(row.document, self._preparer.fits):
                at = row.text.index(part.text, at)
                places.append((part, at + 1))
                at += len(part.text)
            found.append((row, places))
        return found

    def _insert(
        self,
        connection: sa.Connection,
        rows: Sequence[tuple[Row, Sequence[Part]]],
        vectors: Mapping[str, Vector],
    ) -> tuple[int, int]:
        found = [_written(row, cut, at, vectors[cut[at][0].id]) for row, cut in rows for at in range(len(cut))]
        return self._loading.write(connection, found)

    def _note(self, connection: sa.Connection, ids: Sequence[str], errors: Mapping[str, str]) -> None:
        run(connection, f"DELETE FROM {self.table.errors} WHERE id = ANY(%(ids)s)", {"ids": list(ids)})
        if errors:
            statement = f"INSERT INTO {self.table.errors} VALUES (%(id)s, %(reason)s)"
            run_many(connection, statement, [{"id": key, "reason": reason} for key, reason in errors.items()])


def run(connection: sa.Connection, statement: str, values: Mapping[str, object] | None = None) -> sa.CursorResult[Any]:
    """Send a statement with its values; every percent sign that is not a value's place is doubled in it."""
    return connection.exec_driver_sql(statement, dict(values or {}))


def run_many(connection: sa.Connection, statement: str, values: Sequence[Mapping[str, object]]) -> None:
    """Send a statement once for each set of values."""
    connection.exec_driver_sql(statement, [dict(item) for item in values])


def totals(connection: sa.Connection, number: int, documents: int, tokens: int) -> None:
    """Count the collection's records and tokens up or down, as the adapter's keyword leg reads them."""
    run(
        connection,
        "UPDATE qvec_collections SET documents = documents + %(documents)s, tokens = tokens + %(tokens)s "
        "WHERE number = %(number)s",
        {"documents": documents, "tokens": tokens, "number": number},
    )


def _written(row: Row, cut: Sequence[Part], at: int, vector: Vector) -> Written:
    part, start = cut[at]
    if len(cut) == 1:
        return Written(row.key, part.id, row.digest, row.text, part.searchable_text, vector)
    digest = f"{row.digest}/{at + 1}/{len(cut)}"
    return Written(row.key, part.id, digest, row.text, part.searchable_text, vector, start, len(part.text))


def _pair(connection: sa.Connection, statement: str, values: Mapping[str, object]) -> tuple[int, int]:
    row = run(connection, statement, values).one()
    return int(str(row[0])), int(str(row[1]))
