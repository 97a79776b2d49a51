"""A batch of records on its way beside the rows of an attached table: by COPY into a temporary table, then at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qvec.copy_binary import NULL, blocks, boolean, count_lexemes, field, fields_of, integer, tsvector
from qvec.migrate.pg_table import PgTable, quoted
from qvec.types import Vector

if TYPE_CHECKING:
    import sqlalchemy as sa

_COLUMNS = {
    "id": "text", "digest": "text", "tokens": "tsvector", "token_count": "integer", "zero": "boolean",
    "part_start": "integer", "part_length": "integer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A record to write.

    Attributes:
        key: of its row, as text.
        text: the row's text that the vector was made from.
        searchable: what its keyword tokens are cut from.
        part_start, part_length: where it lies in the row's text, from 1; None for the whole row.
    """

    key: tuple[str, ...]
    id: str
    digest: str
    text: str
    searchable: str
    vector: Vector
    part_start: int | None = None
    part_length: int | None = None


class Loading:
    """The statements that write records beside the rows of a table, and what they are fed with."""

    def __init__(self, table: PgTable) -> None:
        self._table = table
        self._staged = f"pg_temp.{quoted(f'qvec_{table.number}_load')}"
        self._keys = [f"key_{at}" for at in range(1, len(table.key) + 1)]
        columns = dict.fromkeys(self._keys, "text") | _COLUMNS
        if table.in_table:
            columns["text"] = "text"
        self._columns = columns | {"embedding": f"{table.kind}({table.dim})"}

    @property
    def statements(self) -> list[str]:
        """Make the temporary table, fill it, and write from it."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self._columns.items())
        return [
            # Its rows live for an instant: to compress them would cost more than all the rest.
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self._staged} ({columns}) WITH (toast_tuple_target = 8160) "
            "ON COMMIT DELETE ROWS",
            f"COPY {self._staged} ({', '.join(self._columns)}) FROM STDIN (FORMAT BINARY)",
            self._update() if self._table.in_table else self._insert(),
        ]

    def write(self, connection: sa.Connection, records: Sequence[Written]) -> tuple[int, int]:
        """Write inside a transaction; return how many were written, and their tokens."""
        if not records:
            return 0, 0
        create, copy_in, move = self.statements
        connection.exec_driver_sql(create)
        self._copy(connection, copy_in, records)
        count, tokens = connection.exec_driver_sql(move, {"size": len(records)}).one()
        return int(count), int(tokens)

    def _insert(self) -> str:
        kinds = dict(zip(self._keys, (kind for _, kind in self._table.key), strict=True))
        chosen = ", ".join(f"CAST({name} AS {kinds[name]})" if name in kinds else name for name in self._columns)
        return (
            f"WITH written AS (INSERT INTO {self._table.companion} ({', '.join(self._columns)}) "
            f"SELECT {chosen} FROM {self._staged} RETURNING token_count) "
            "SELECT count(*), coalesce(sum(token_count), 0) FROM written"
        )

    def _update(self) -> str:
        """Write only where the text is still the one that was embedded; who changed it meanwhile is met again."""
        table, column = self._table, self._table.column
        same = " AND ".join(
            f"t.{key} = CAST(l.{name} AS {kind})"
            for name, key, (_, kind) in zip(self._keys, table.keys, table.key, strict=True)
        )
        names = ("id", "digest", "tokens", "token_count", "zero", "embedding")
        return (
            # PostgreSQL takes a temporary table for longer than it is and would read the whole table beside it; not
            # with a limit (18).
            f"WITH written AS (UPDATE {table.source} t SET {', '.join(f'{column(name)} = l.{name}' for name in names)} "
            f"FROM (SELECT * FROM {self._staged} LIMIT %(size)s) l WHERE {same} AND {table.text} = l.text "
            f"RETURNING l.token_count) SELECT count(*), coalesce(sum(token_count), 0) FROM written"
        )

    def _copy(self, connection: sa.Connection, statement: str, records: Sequence[Written]) -> None:
        """Send records by COPY, which SQLAlchemy has no word for."""
        import sqlalchemy as sa

        driver, errors = connection.connection.driver_connection, connection.dialect.loaded_dbapi
        assert driver is not None
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for block in self._blocks(records):
                    copy.write(block)
        except errors.OperationalError as exc:
            raise sa.exc.OperationalError("COPY", None, exc) from exc
        except errors.Error as exc:
            raise sa.exc.DBAPIError("COPY", None, exc) from exc

    def _blocks(self, records: Sequence[Written]) -> Iterator[bytes]:
        vectors = np.stack([record.vector for record in records])
        zero = (np.count_nonzero(vectors, axis=1) == 0).tolist()
        rows = (self._row(record, is_zero=is_zero) for record, is_zero in zip(records, zero, strict=True))
        return blocks(rows, vectors, half=self._table.kind == "halfvec")

    def _row(self, record: Written, *, is_zero: bool) -> bytes:
        """Write all fields of a record but the vector."""
        keys = map(field, map(str.encode, record.key))
        return b"".join([fields_of(len(self._columns)), *keys, *self._rest(record, is_zero=is_zero)])

    def _rest(self, record: Written, *, is_zero: bool) -> Iterator[bytes]:
        counted: Mapping[bytes, int] = count_lexemes(record.searchable)
        yield field(record.id.encode())
        yield field(record.digest.encode())
        yield field(tsvector(counted))
        yield integer(sum(counted.values()))
        yield boolean(is_zero)
        for place in (record.part_start, record.part_length):
            yield NULL if place is None else integer(place)
        if self._table.in_table:
            yield field(record.text.encode())
