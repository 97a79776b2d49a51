"""Tables that other programs made: which there are, what their columns are to qvec, one form to read them all in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from qvec.errors import CollectionNotFoundError
from qvec.layouts import FieldMap, Layout
from qvec.types import CollectionSpec, Metric
from qvec_pgvector.connections import Connection

_VECTORS = ("vector", "halfvec")
_TEXTS = ("text", "varchar", "bpchar")
_METRICS = {"cosine": Metric.COSINE, "ip": Metric.DOT, "l2": Metric.L2}

# Plain types and arrays of them; vectors, tsvector and bytea are no metadata.
_COLUMNS = """
SELECT c.relname, a.attname, t.typname, a.atttypmod, t.typcategory IN ('B', 'D', 'N', 'S', 'A', 'E')
    OR t.typname IN ('uuid', 'json', 'jsonb')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'm') AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
ORDER BY c.relname, a.attnum
"""
_CLASSES = """
SELECT o.opcname FROM pg_index i JOIN pg_opclass o ON o.oid = i.indclass[0]
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = to_regclass({}) AND a.attname = {} AND i.indisvalid
"""
_VIEW = """
(SELECT ctid AS place, xmin AS version, {id} AS key, {id}::text COLLATE "C" AS id, {source} AS source,
    coalesce({text}::text, '') AS body, {metadata} AS metadata, {vector} AS embedding,
    {tokens} AS tokens
 FROM {table} WHERE {owned} AND {id} IS NOT NULL AND {vector} IS NOT NULL) AS record
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue has it."""

    type: str
    typmod: int
    is_plain: bool


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """One collection of another program."""

    name: str
    table: str
    form: FieldMap
    columns: Mapping[str, Column]
    owner: object
    metric: Metric
    dim: int
    has_index: bool

    @property
    def kind(self) -> str:
        return self.columns[self.form.vector].type

    @property
    def spec(self) -> CollectionSpec:
        return CollectionSpec(self.name, self.dim, self.metric, passport=self.form.passport)

    @property
    def view(self) -> sql.Composed:
        """The records under qvec's names; PostgreSQL sees through it, so that its indexes serve."""
        form = self.form
        return sql.SQL(_VIEW).format(
            id=sql.Identifier(form.id),
            text=sql.Identifier(form.text),
            vector=sql.Identifier(form.vector),
            tokens=sql.Identifier(form.keywords) if form.keywords else sql.SQL("NULL::tsvector"),
            table=sql.Identifier(self.table),
            source=_source(form),
            metadata=_metadata(form, self.columns),
            owned=_owned(form, self.owner),
        )

    def among(self, ids: Sequence[str]) -> tuple[sql.Composed, list[str]]:
        """Write that a record has one of these ids, in the column's own type, whose index serves."""
        kind = self.columns[self.form.id].type
        if kind in _TEXTS:
            return sql.SQL("key = ANY({}::text[])").format(sql.Placeholder()), list(ids)
        if kind == "uuid":
            return sql.SQL("key = ANY({}::uuid[])").format(sql.Placeholder()), [id for id in ids if _is_uuid(id)]
        return sql.SQL("id = ANY({}::text[])").format(sql.Placeholder()), list(ids)


def names(connection: Connection, layout: Layout) -> list[str]:
    """Name the collections of a layout, sorted."""
    found: set[str] = set()
    tables = _tables(connection)
    for form in layout.forms:
        for table in _fitting(form, tables):
            if form.owner is None:
                found.add(str(form.name_of(table)))
            elif form.owner.table in tables:
                statement = sql.SQL("SELECT {} FROM {}").format(
                    sql.Identifier(form.owner.name), sql.Identifier(form.owner.table)
                )
                found.update(str(row[0]) for row in connection.raw.execute(statement))
    return sorted(found)


def need(connection: Connection, layout: Layout, name: str, place: str) -> ForeignTable:
    """Look a collection up.

    Raises:
        CollectionNotFoundError: no table of this layout has its name.
    """
    tables = _tables(connection)
    for form in layout.forms:
        table = form.table if form.owner else form.table.replace("{name}", name)
        if table not in _fitting(form, tables):
            continue
        owner = _owner(connection, form, name)
        if form.owner is None or owner is not None:
            return _describe(connection, form, name, table, tables[table], owner)
    raise CollectionNotFoundError(
        f"no collection {name!r} of the layout {layout.name!r} in PostgreSQL at {place}; there are: "
        f"{', '.join(names(connection, layout)) or 'none'}"
    )


def _tables(connection: Connection) -> dict[str, dict[str, Column]]:
    found: dict[str, dict[str, Column]] = {}
    for table, column, kind, typmod, is_plain in connection.raw.execute(_COLUMNS):
        found.setdefault(str(table), {})[str(column)] = Column(str(kind), int(str(typmod)), bool(is_plain))
    return found


def _fitting(form: FieldMap, tables: Mapping[str, Mapping[str, Column]]) -> list[str]:
    return [
        table
        for table, columns in tables.items()
        if (table == form.table if form.owner else form.name_of(table))
        and form.vector
        and form.needed <= columns.keys()
        and columns[form.vector].type in _VECTORS
        and (not form.keywords or columns[form.keywords].type == "tsvector")
    ]


def _owner(connection: Connection, form: FieldMap, name: str) -> object:
    if form.owner is None:
        return None
    statement = sql.SQL("SELECT {}::text FROM {} WHERE {} = %s").format(
        sql.Identifier(form.owner.key), sql.Identifier(form.owner.table), sql.Identifier(form.owner.name)
    )
    row = connection.raw.execute(statement, (name,)).fetchone()
    return row[0] if row else None


def _describe(
    connection: Connection, form: FieldMap, name: str, table: str, columns: Mapping[str, Column], owner: object
) -> ForeignTable:
    relation = sql.Identifier(table).as_string(None)
    classes = sql.SQL(_CLASSES).format(sql.Literal(relation), sql.Literal(form.vector))
    found = [str(row[0]).split("_") for row in connection.raw.execute(classes)]
    indexed = [_METRICS[parts[1]] for parts in found if len(parts) == 3 and parts[1] in _METRICS]
    metric = form.metric or (indexed[0] if indexed else Metric.COSINE)
    dim = columns[form.vector].typmod
    if dim < 1:
        statement = sql.SQL("SELECT vector_dims({}) FROM {} WHERE {} AND {} IS NOT NULL LIMIT 1").format(
            sql.Identifier(form.vector), sql.Identifier(table), _owned(form, owner), sql.Identifier(form.vector)
        )
        row = connection.raw.execute(statement).fetchone()
        dim = int(str(row[0])) if row else 0
    return ForeignTable(name, table, form, columns, owner, metric, dim, metric in indexed)


def _owned(form: FieldMap, owner: object) -> sql.Composable:
    if form.owner is None:
        return sql.SQL("true")
    return sql.SQL("{} = {}").format(sql.Identifier(form.owner.column), sql.Literal(owner))


def _source(form: FieldMap) -> sql.Composable:
    if not form.source:
        return sql.SQL("''::text")
    # LlamaIndex writes the word None for a node that was cut from nothing.
    return sql.SQL("coalesce(nullif({}->>{}, 'None'), '')").format(
        sql.Identifier(form.metadata), sql.Literal(form.source)
    )


def _metadata(form: FieldMap, columns: Mapping[str, Column]) -> sql.Composable:
    parts: list[sql.Composable] = []
    if form.metadata:
        column = sql.Identifier(form.metadata)
        parts.append(
            sql.SQL("(CASE WHEN jsonb_typeof({}::jsonb) = 'object' THEN {}::jsonb ELSE '{{}}' END)").format(
                column, column
            )
        )
    others = [name for name, column in columns.items() if column.is_plain and name not in form.needed]
    if form.others and others:
        pairs = [sql.SQL("{}::text, {}").format(sql.Literal(name), sql.Identifier(name)) for name in others]
        parts.append(sql.SQL("jsonb_strip_nulls(jsonb_build_object({}))").format(sql.SQL(", ").join(pairs)))
    whole = sql.SQL(" || ").join(parts) if parts else sql.SQL("'{}'::jsonb")
    return sql.SQL("(({}) - {}::text[])").format(whole, sql.Literal(list(form.hidden)))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
