"""Making a PostgreSQL table searchable where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qvec.adapter import Adapter, SupportsCreateSteps
from qvec.checks import check_name
from qvec.embedder import Embedder
from qvec.errors import InvalidInputError
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.fields import FieldMap
from qvec.migrate.pg_backfill import AttachReport, backfill
from qvec.migrate.pg_rights import check_rights
from qvec.migrate.pg_rows import Rows, run
from qvec.migrate.pg_session import all_attached, attached, connected, keep_form, locked, name_lock
from qvec.migrate.pg_table import STATE, PgTable, quoted
from qvec.passport import check_passport, passport_of
from qvec.pgvector_limits import INDEX_FROM
from qvec.registry import DEFAULT_MODEL, load_embedder, open_adapter
from qvec.types import TITLE, CollectionSpec, IndexSpec

if TYPE_CHECKING:
    import sqlalchemy as sa

_ERRORS = 1000

_MAKE_WAY = "DROP TABLE {}"
_ENTER = "INSERT INTO qvec_attached (number, form) VALUES (%(number)s, %(form)s)"
_ANALYZE = "ANALYZE {}"
_DONE = "UPDATE qvec_attached SET is_done = true WHERE number = %(n)s"
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    coalesce(a.attnum = ANY(i.indkey::int2[]), false), array_position(i.indkey::int2[], a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.oid = to_regclass(%(name)s) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_UNIQUE = """
SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass(%(name)s) AND i.indisunique AND i.indpred IS NULL
    AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey::int2[]) AND a.attnotnull)
        = (SELECT array_agg(k ORDER BY k) FROM unnest(%(names)s::text[]) k))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachJob:
    """A table to make searchable.

    Attributes:
        url: of the database: ``postgresql://user@host/db``.
        table: taken literally.
        collection: the name to search it by.
        schema: of the table; None: the first in the search path that has it.
        fields: which columns become what; the id is the primary key unless it names unique columns.
        model: makes the vectors; None takes `default_model`.
        dim: width to cut them to.
        embedder: a model that is loaded already, instead of `model` and `dim`.
        default_model: for a table that is not attached yet.
        default_dim: width to cut the default model's vectors to.
        in_table: add columns to the table itself; else a companion table holds vectors and tokens.
        triggers: queue the rows that change, for `sync`.
        version: instead of triggers, a column that another value is written to whenever a row changes
            (``updated_at``, a counter): `sync` compares it with what it was.
        index: of the vectors; ``"auto"`` builds HNSW from 1,000 rows on, as in any collection.
    """

    url: str
    table: str
    collection: str
    schema: str | None = None
    fields: FieldMap = field(default_factory=FieldMap)
    model: str | None = None
    dim: int | None = None
    embedder: Embedder | None = None
    default_model: str = DEFAULT_MODEL
    default_dim: int | None = None
    in_table: bool = False
    triggers: bool = False
    version: str | None = None
    index: IndexSpec = field(default_factory=IndexSpec)


def attach(job: AttachJob, *, progress: Callable[[CopyProgress], None] | None = None) -> AttachReport:
    """Give every row of a table its vector and keyword tokens, and index them; `qvec.search` then finds the rows.

    The table stays readable and writable. Broken off, it goes on after the last batch; run again when it was done, it
    embeds what was added or changed since and lets go of what was deleted.

    Args:
        job: what to attach, and how.
        progress: called after each batch, and before an index is built.

    Raises:
        MigrationError: no key, another attach at work, or the collection is an ordinary one.
        InvalidInputError: no such table or column.
        PassportMismatchError: the table is attached with another model.
        QvecError: the database or the model failed; a second run goes on.
    """
    started = time.monotonic()
    check_name(job.collection)
    with connected(job.url) as connection:
        table = _described(connection, job)
        with locked(connection, name_lock(job.collection)):
            found = attached(connection, job.collection)
            embedder = embedder_of(job, found)
            if found is None:
                check_rights(connection, table)
                found = _set_up(connection, job, table, embedder)
        if (found.schema, found.name) != (table.schema, table.name):
            raise MigrationError(f"the collection {job.collection!r} is attached to {found.schema}.{found.name}")
        with locked(connection, found.number):
            report = backfill(connection, Rows(found, embedder), progress)
            _build_indexes(connection, found, job.index, progress)
            run(connection, _DONE, {"n": found.number})
            connection.commit()
            report.errors = [
                (str(key), str(reason))
                for key, reason in run(connection, f"SELECT id, reason FROM {found.errors} ORDER BY id LIMIT {_ERRORS}")
            ]
            (report.failed,) = run(connection, f"SELECT count(*) FROM {found.errors}").one()
    report.seconds = time.monotonic() - started
    return report


def plan_attach(job: AttachJob) -> list[str]:
    """Write the statements that `attach` would send; only the collection's number is not known yet: it stands as 0.

    Raises:
        QvecError: as `attach` says.
    """
    check_name(job.collection)
    with connected(job.url) as connection:
        table = _described(connection, job)
        found = attached(connection, job.collection)
        embedder = embedder_of(job, found)
        (is_first,) = run(connection, "SELECT to_regclass('qvec_attached') IS NULL").one()
        beside = [] if is_first else [other for other in all_attached(connection) if other.source == table.source]
        connection.rollback()
    table = found or replace(
        table, dim=embedder.dim, others=tuple(other.number for other in beside if other.in_table)
    )  # fmt: skip
    setup = [] if found else _transaction(table, beside)
    indexes = [statement for _, statement in table.index(hnsw=job.index.kind != "flat")]
    batches = [table.page(from_start=False), *Rows(table, embedder).writing]
    steps = [*setup, *batches, *indexes, _ANALYZE.format(table.companion), _DONE]
    made = [] if found else _create_steps(job, embedder)
    return [*made, *(statement.strip().replace("%%", "%") for statement in steps)]


def _create_steps(job: AttachJob, embedder: Embedder) -> list[str]:
    adapter = open_adapter(job.url)
    try:
        assert isinstance(adapter, SupportsCreateSteps)
        return adapter.create_steps(_spec(job, embedder))
    finally:
        adapter.close()


def _transaction(table: PgTable, beside: Sequence[PgTable]) -> list[str]:
    """Write what `_set_up` sends once there is a collection."""
    again = [other.view_again() for other in beside] if table.in_table else []
    return ["BEGIN", STATE, _MAKE_WAY.format(table.view), *table.setup(), *again, _ENTER, "COMMIT"]


def _described(connection: sa.Connection, job: AttachJob) -> PgTable:
    name = (quoted(job.schema, job.table) if job.schema else quoted(job.table)).replace("%%", "%")
    columns = run(connection, _COLUMNS, {"name": name}).all()
    if not columns:
        raise InvalidInputError(f"there is no table {name}: both names are taken literally, case included")
    types = {str(column[2]): str(column[3]) for column in columns}
    primary = [str(column[2]) for column in sorted((c for c in columns if c[4]), key=lambda column: int(column[5]))]
    fields = job.fields.with_id(primary)
    if not fields.id:
        raise MigrationError(
            f"{name} has no primary key: name unique columns that are NOT NULL with id=('column', ...), --id on the "
            "command line, or add a key"
        )
    fields.check(list(types), f"the table {name}")
    if job.version and job.version not in types:
        raise InvalidInputError(f"the table {name} has no column {job.version!r}; it has {', '.join(types)}")
    if list(fields.id) != primary:
        (is_unique,) = run(connection, _UNIQUE, {"name": name, "names": list(fields.id)}).one()
        if not is_unique:
            raise MigrationError(f"{', '.join(fields.id)} has no unique index over NOT NULL columns in {name}")
    key = tuple((column, types[column]) for column in fields.id)
    connection.rollback()
    return PgTable(
        str(columns[0][0]), str(columns[0][1]), key, fields, 0, 0, in_table=job.in_table,
        triggers=job.triggers, version=job.version or "", m=job.index.m, ef_construction=job.index.ef_construction,
        title=tuple(name for name in fields.metadata_columns(types) if name == TITLE),
    )  # fmt: skip


def embedder_of(job: AttachJob, found: PgTable | None) -> Embedder:
    """Load the model that a table is attached with, or is to be."""
    if found is None:
        dim = job.dim if job.model else job.dim or job.default_dim
        return job.embedder or load_embedder(job.model or job.default_model, dim=dim)
    adapter = open_adapter(job.url)
    try:
        spec = adapter.describe_collection(job.collection)
    finally:
        adapter.close()
    known = spec.passport
    assert known is not None
    made = job.embedder or load_embedder(job.model or known.model_id, dim=job.dim or known.dim)
    check_passport(spec, made)
    return made


def _set_up(connection: sa.Connection, job: AttachJob, table: PgTable, embedder: Embedder) -> PgTable:
    there = (
        "SELECT to_regclass('qvec_collections') IS NULL, NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')"
    )
    names = zip(("catalogue", "extension"), run(connection, there).one(), strict=True)
    made = tuple(name for name, is_missing in names if is_missing)
    connection.rollback()
    adapter = open_adapter(job.url)
    try:
        _make_collection(adapter, job, embedder)
    finally:
        adapter.close()
    with connection.begin():
        (number,) = run(
            connection, "SELECT number FROM qvec_collections WHERE name = %(name)s FOR UPDATE", {"name": job.collection}
        ).one()
        run(connection, STATE)
        beside = [other for other in all_attached(connection) if other.source == table.source]
        others = tuple(other.number for other in beside if other.in_table)
        chosen = replace(table, number=int(number), dim=embedder.dim, made=made, others=others)
        # The adapter's own table, empty as yet, makes way for the view.
        run(connection, _MAKE_WAY.format(chosen.view))
        for statement in chosen.setup():
            run(connection, statement)
        for other in beside if table.in_table else ():
            again = replace(other, others=(*other.others, chosen.number))
            run(connection, again.view_again())
            keep_form(connection, again)
        form = {"number": number, "form": chosen.form}
        run(connection, _ENTER, form)
    return chosen


def _spec(job: AttachJob, embedder: Embedder) -> CollectionSpec:
    return CollectionSpec(job.collection, embedder.dim, index=job.index, passport=passport_of(embedder))


def _make_collection(adapter: Adapter, job: AttachJob, embedder: Embedder) -> None:
    adapter.create_collection(_spec(job, embedder), exist_ok=True)
    if adapter.count(job.collection):
        raise MigrationError(
            f"the collection {job.collection!r} is there already and holds documents: choose another name"
        )
    check_passport(adapter.describe_collection(job.collection), embedder)


def _build_indexes(
    connection: sa.Connection, table: PgTable, index: IndexSpec, progress: Callable[[CopyProgress], None] | None
) -> None:
    (count,) = run(
        connection, "SELECT documents FROM qvec_collections WHERE number = %(number)s", {"number": table.number}
    ).one()
    connection.rollback()
    wants_hnsw = index.kind == "hnsw" or (index.kind == "auto" and count >= INDEX_FROM)
    state = (
        "SELECT coalesce(bool_or(i.indisvalid), false), count(*) FROM pg_class c "
        "JOIN pg_index i ON i.indexrelid = c.oid "
        "JOIN pg_class t ON t.oid = i.indrelid WHERE c.relname = %(name)s AND t.oid = to_regclass(%(table)s)"
    )
    with connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
        for name, statement in table.index(hnsw=wants_hnsw):
            values = {"name": name, "table": table.companion.replace("%%", "%")}
            is_valid, there = run(alone, state, values).one()
            if is_valid:
                continue
            if there:
                # A build that was broken off leaves an index behind that is kept up and never used.
                run(alone, f"DROP INDEX CONCURRENTLY {table.in_schema(name)}")
            if progress:
                progress(CopyProgress(0, None, f"builds the index {name}"))
            run(alone, statement)
        run(alone, _ANALYZE.format(table.companion))
