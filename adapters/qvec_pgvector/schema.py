"""The catalogue of collections and their tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from psycopg import sql

from qvec.errors import CollectionNotFoundError
from qvec.pgvector_limits import INDEX_FROM, MAX_VECTOR
from qvec.specs import spec_from_form, spec_to_json
from qvec.types import CollectionSpec, Metric
from qvec_pgvector.connections import Connection, Connections

MAX_HALFVEC = 4000

OPERATORS = {Metric.COSINE: sql.SQL("<=>"), Metric.DOT: sql.SQL("<#>"), Metric.L2: sql.SQL("<->")}
_CLASSES = {Metric.COSINE: "cosine", Metric.DOT: "ip", Metric.L2: "l2"}
_LOCK = 7_160_217_318_042_115_011  # any number that no one else takes for an advisory lock
_BUILD_LOCK = 0x71766563  # "qvec"

_EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector"
_CATALOGUE = """
CREATE TABLE IF NOT EXISTS qvec_collections (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, spec text NOT NULL,
    documents bigint NOT NULL DEFAULT 0, tokens bigint NOT NULL DEFAULT 0)
"""

# zero: pgvector has no cosine for a vector of zeros and leaves it out of its index; such rows score 0.
# metadata_json: the JSON as given, where jsonb would not give it back (1e+300 comes back as an integer).
# A keyword search reads the tokens of many rows: compressed they are a fifth smaller and take a quarter longer, and in
# a table of their own (TOAST), as by default in rows above 2 kB, twice as long. Vectors from 1,000 dims still go there.
_TABLE = """
CREATE TABLE {table} (
    id text COLLATE "C" PRIMARY KEY, source text COLLATE "C" NOT NULL, digest text NOT NULL, body text NOT NULL,
    metadata jsonb NOT NULL, metadata_json text, tokens tsvector NOT NULL, token_count integer NOT NULL,
    zero boolean NOT NULL, embedding {kind}({dim}) NOT NULL) WITH (toast_tuple_target = 4080)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A collection in the catalogue; its table's name ends in its number."""

    number: int
    spec: CollectionSpec

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(f"qvec_{self.number}")

    @property
    def kind(self) -> str:
        return kind_of(self.spec.dim)

    def part(self, suffix: str) -> sql.Identifier:
        """Name an index of the table."""
        return sql.Identifier(f"qvec_{self.number}_{suffix}")


def kind_of(dim: int) -> str:
    """Choose the column type: HNSW stops at 2,000 dims for vector and at 4,000 for halfvec (pgvector 0.8)."""
    return "vector" if dim <= MAX_VECTOR else "halfvec"


def configurations(connection: Connection) -> tuple[str, ...]:
    """Name the text search configurations, as PostgreSQL writes them: with their schema where it is not searched."""
    statement = "SELECT oid::regconfig::text FROM pg_ts_config ORDER BY pg_ts_config_is_visible(oid) DESC, cfgname"
    return tuple(str(row[0]) for row in connection.raw.execute(statement))


def ensure_catalogue(connection: Connection) -> None:
    """Make the extension and the catalogue, inside a transaction; two processes may do so at once."""
    connection.raw.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    connection.raw.execute(_EXTENSION)
    connection.raw.execute(_CATALOGUE)


def has_catalogue(connection: Connection) -> bool:
    """Tell whether any collection was ever made here."""
    row = connection.raw.execute("SELECT to_regclass('qvec_collections') IS NOT NULL").fetchone()
    return bool(row and row[0])


def create(connection: Connection, spec: CollectionSpec) -> None:
    """Enter a collection into the catalogue and make its table, inside a transaction."""
    written = spec_to_json(spec)
    row = connection.raw.execute(
        "INSERT INTO qvec_collections (name, spec) VALUES (%s, %s) RETURNING number", (spec.name, written)
    ).fetchone()
    assert row is not None
    for statement in _table(Entry(int(str(row[0])), spec)):
        connection.raw.execute(statement)


def creation(spec: CollectionSpec) -> list[str]:
    """Write what `ensure_catalogue` and `create` send; the collection's number is not known yet: it stands as 0."""
    values = sql.SQL(", ").join(map(sql.Literal, (spec.name, spec_to_json(spec))))
    entering = sql.SQL("INSERT INTO qvec_collections (name, spec) VALUES ({}) RETURNING number").format(values)
    made = [statement.as_string(None).strip() for statement in (entering, *_table(Entry(0, spec)))]
    return ["BEGIN", f"SELECT pg_advisory_xact_lock({_LOCK})", _EXTENSION, _CATALOGUE.strip(), *made, "COMMIT"]


def _table(entry: Entry) -> list[sql.Composed]:
    return [
        sql.SQL(_TABLE).format(table=entry.table, kind=sql.SQL(entry.kind), dim=sql.Literal(entry.spec.dim)),
        sql.SQL("ALTER TABLE {} ALTER tokens SET STORAGE EXTERNAL").format(entry.table),
        sql.SQL("CREATE INDEX {} ON {} (source)").format(entry.part("source"), entry.table),
        sql.SQL("CREATE INDEX {} ON {} (id) WHERE zero").format(entry.part("zero"), entry.table),
    ]


def drop(connection: Connection, entry: Entry) -> None:
    """Take a collection out of the catalogue with its table, inside a transaction."""
    connection.raw.execute("DELETE FROM qvec_collections WHERE number = %s", (entry.number,))
    connection.raw.execute(sql.SQL("DROP TABLE {}").format(entry.table))


EXCHANGE = (
    "SELECT number, name, spec FROM qvec_collections WHERE name IN (%(one)s, %(other)s) ORDER BY number FOR UPDATE",
    # A name is unique at every moment: the first takes one meanwhile that no collection can have.
    "UPDATE qvec_collections SET name = ' ' WHERE name = %(one)s",
    "UPDATE qvec_collections SET name = %(one)s, spec = %(other_spec)s WHERE name = %(other)s",
    "UPDATE qvec_collections SET name = %(other)s, spec = %(one_spec)s WHERE name = ' '",
)


def exchange(connection: Connection, one: str, other: str, place: str) -> None:
    """Let two collections trade names, inside a transaction; what is being written to them is waited for."""
    lock, *updates = EXCHANGE
    connection.raw.execute(lock, {"one": one, "other": other})
    first, second = (need(connection, name, place) for name in (one, other))
    values = {
        "one": one,
        "other": other,
        "one_spec": spec_to_json(replace(first.spec, name=other)),
        "other_spec": spec_to_json(replace(second.spec, name=one)),
    }
    for statement in updates:
        connection.raw.execute(statement, values)


def find(connection: Connection, name: str, *, lock: bool = False) -> Entry | None:
    """Look a collection up; `lock` holds off other writers until the transaction ends."""
    if not has_catalogue(connection):
        return None
    statement = sql.SQL("SELECT number, spec FROM qvec_collections WHERE name = %s{}").format(
        sql.SQL(" FOR UPDATE" if lock else "")
    )
    row = connection.raw.execute(statement, (name,)).fetchone()
    return Entry(int(str(row[0])), spec_from_form(json.loads(str(row[1])))) if row else None


@contextmanager
def held(connections: Connections, name: str, place: str) -> Iterator[tuple[Connection, Entry]]:
    """Give a transaction that nobody else writes to a collection in.

    Raises:
        CollectionNotFoundError: it is not there.
    """
    while True:
        with connections.transaction() as connection:
            entry = find(connection, name, lock=True)
            if entry is not None:
                yield connection, entry
                return
            # Who waited while two collections traded names finds no row, and has locked the other's all the same. The
            # end of the transaction lets go of it: to take this one's as well would lead to deadlocks.
            need(connection, name, place)


def need(connection: Connection, name: str, place: str) -> Entry:
    """Look a collection up.

    Raises:
        CollectionNotFoundError: it is not there.
    """
    entry = find(connection, name)
    if entry is None:
        raise CollectionNotFoundError(f"no collection {name!r} in PostgreSQL at {place}: index into it first")
    return entry


def build_indexes(connection: Connection, entry: Entry) -> None:
    """Build what was put off until after the load: GIN over the tokens, HNSW over the vectors of a large collection."""
    table = entry.table
    row = connection.raw.execute(
        sql.SQL(
            "SELECT to_regclass({}) IS NULL, to_regclass({}) IS NULL, "
            "(SELECT count(*) FROM (SELECT FROM {} LIMIT {}) t)"
        ).format(
            sql.Literal(f"qvec_{entry.number}_tokens"),
            sql.Literal(f"qvec_{entry.number}_hnsw"),
            table,
            sql.Literal(INDEX_FROM),
        )
    ).fetchone()
    assert row is not None
    no_gin, no_hnsw, rows = bool(row[0]), bool(row[1]), int(str(row[2]))
    kind = entry.spec.index.kind
    wanted = (kind == "hnsw" and rows > 0) or (kind == "auto" and rows >= INDEX_FROM)
    if not no_gin:
        # GIN keeps what is written to it in a list, which a search would walk once for each of its terms.
        connection.raw.execute(
            sql.SQL("SELECT gin_clean_pending_list({}::regclass)").format(sql.Literal(f"qvec_{entry.number}_tokens"))
        )
    if not rows or not (no_gin or (no_hnsw and wanted)):
        return
    with connection.raw.transaction():
        # IF NOT EXISTS alone fails one of two sessions that build at once (PostgreSQL 18).
        connection.raw.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_BUILD_LOCK, entry.number))
        connection.raw.execute("SET LOCAL maintenance_work_mem = '1GB'; SET LOCAL max_parallel_maintenance_workers = 4")
        if no_gin:
            connection.raw.execute(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin (tokens)").format(entry.part("tokens"), table)
            )
        if no_hnsw and wanted:
            connection.raw.execute(_hnsw(entry))
    connection.raw.execute(sql.SQL("ANALYZE {}").format(table))


def _hnsw(entry: Entry) -> sql.Composed:
    return sql.SQL(
        "CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw (embedding {}) WITH (m = {}, ef_construction = {})"
    ).format(
        entry.part("hnsw"),
        entry.table,
        sql.SQL(f"{entry.kind}_{_CLASSES[entry.spec.metric]}_ops"),
        sql.Literal(entry.spec.index.m),
        sql.Literal(entry.spec.index.ef_construction),
    )
