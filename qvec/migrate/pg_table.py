"""A PostgreSQL table that is made searchable in place, and the statements that do and undo it.

The collection's table ``qvec_N`` is a view here: its vectors and keyword tokens come from a companion table (or from
columns of the table itself), its texts and metadata from the table as they are at the time of a search. Identifiers
and literals are quoted by `quoted` and `literal`; all other values are bound.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from qvec.migrate.fields import FieldMap
from qvec.pgvector_limits import MAX_VECTOR
from qvec.types import IndexSpec, Metric

_OPERATORS = {Metric.COSINE: "cosine", Metric.DOT: "ip", Metric.L2: "l2"}
_COLUMNS = ("id", "digest", "tokens", "token_count", "zero", "embedding")
_TEMPLATE = re.compile(r"(\{[^{}]+\})")

STATE = """
CREATE TABLE IF NOT EXISTS qvec_attached (
    number integer PRIMARY KEY, form text NOT NULL, position text, is_done boolean NOT NULL DEFAULT false)
"""


def quoted(*names: str) -> str:
    """Quote an identifier, with the percent sign doubled, as the driver wants it."""
    return ".".join('"' + name.replace('"', '""').replace("%", "%%") + '"' for name in names)


def literal(text: str) -> str:
    """Quote a string for where no value can be bound, as in a view."""
    body = text.replace("'", "''").replace("\\", "\\\\").replace("%", "%%")
    return f"E'{body}'"


@dataclass(frozen=True, slots=True)
class PgTable:
    """A table and how it is attached.

    Attributes:
        schema, name: taken literally.
        key: its columns, each with its type; the id is made of them.
        fields: which columns become what; `fields.id` are the key's columns.
        number: of the collection.
        dim: of the vectors.
        metric: of the collection.
        in_table: vectors and tokens are columns of the table itself.
        m, ef_construction: of the HNSW index.
        made: what was not there before: ``extension``, ``catalogue``.
        triggers: changes are queued by triggers.
        others: numbers of the collections whose vectors are columns of the same table.
        title: the column ``title`` where it comes along, which is embedded with the text.
        version: the column that tells that a row has changed, where there are no triggers.
    """

    schema: str
    name: str
    key: tuple[tuple[str, str], ...]
    fields: FieldMap
    number: int
    dim: int
    metric: Metric = Metric.COSINE
    in_table: bool = False
    m: int = IndexSpec().m
    ef_construction: int = IndexSpec().ef_construction
    made: tuple[str, ...] = ()
    triggers: bool = False
    title: tuple[str, ...] = ()
    others: tuple[int, ...] = ()
    version: str = ""

    @property
    def form(self) -> str:
        """Itself as JSON, to be kept in the database."""
        return json.dumps(asdict(self))

    @classmethod
    def from_form(cls, form: str) -> PgTable:
        """Read what `form` wrote."""
        found = json.loads(form)
        fields, metric = found.pop("fields"), Metric(found.pop("metric"))
        metadata = None if fields["metadata"] is None else tuple(fields["metadata"])
        key = tuple((name, kind) for name, kind in found.pop("key"))
        made, title = tuple(found.pop("made")), tuple(found.pop("title"))
        others = tuple(found.pop("others", ()))
        chosen = FieldMap(tuple(fields["id"]), fields["text"], metadata)
        return cls(**found, key=key, fields=chosen, metric=metric, made=made, title=title, others=others)

    @property
    def source(self) -> str:
        """The table, quoted."""
        return quoted(self.schema, self.name)

    @property
    def view(self) -> str:
        """The view that qvec searches."""
        return quoted(f"qvec_{self.number}")

    @property
    def companion(self) -> str:
        """Where the vectors are: the companion table, or the table itself."""
        return self.source if self.in_table else quoted(f"qvec_{self.number}_rows")

    @property
    def errors(self) -> str:
        """The table of rows that could not be attached."""
        return quoted(f"qvec_{self.number}_errors")

    @property
    def kind(self) -> str:
        """The vectors' type."""
        return "vector" if self.dim <= MAX_VECTOR else "halfvec"

    def column(self, name: str) -> str:
        """Quote one of qvec's columns: ``embedding``, ``tokens`` ...; in the table itself it bears the number."""
        return quoted(f"qvec_{self.number}_{name}" if self.in_table else name)

    @property
    def keys(self) -> list[str]:
        """The key's columns in the table, quoted."""
        return [quoted(name) for name, _ in self.key]

    @property
    def text(self) -> str:
        """The text of a row `t` as an expression; never NULL."""
        if not self.fields.is_template:
            return f"coalesce(t.{quoted(self.fields.text)}::text, '')"
        return " || ".join(
            f"coalesce(t.{quoted(piece[1:-1])}::text, '')" if piece.startswith("{") else literal(piece)
            for piece in _TEMPLATE.split(self.fields.text)
            if piece
        )

    @property
    def metadata(self) -> str:
        """The metadata of a row `t` as an expression."""
        names = self.fields.metadata
        if names is None:
            named = [*self.fields.id, *self.fields.text_columns]
            kept = self.fields.metadata_columns(named)
            left_out = [name for name in dict.fromkeys(named) if name not in kept]
            numbers = [*([self.number] if self.in_table else []), *self.others]
            left_out += [f"qvec_{number}_{name}" for number in numbers for name in _COLUMNS]
            return f"(to_jsonb(t) - ARRAY[{', '.join(map(literal, left_out))}]::text[])"
        pairs = [f"jsonb_build_object({literal(name)}, t.{quoted(name)})" for name in names]
        return f"({' || '.join(pairs)})" if pairs else "'{}'::jsonb"

    def setup(self) -> list[str]:
        """The statements, in one transaction, that make the view and what is behind it."""
        parts = [
            ("id", 'text COLLATE "C"'),
            ("digest", "text"),
            ("tokens", "tsvector"),
            ("token_count", "integer"),
            ("zero", "boolean"),
            ("embedding", f"{self.kind}({self.dim})"),
        ]
        if self.in_table:
            columns = ", ".join(f"ADD COLUMN {self.column(name)} {kind}" for name, kind in parts)
            made = ["SET LOCAL lock_timeout = '5s'", f"ALTER TABLE {self.source} {columns}"]
        else:
            keys = ", ".join(f"{key} AS key_{at}" for at, key in enumerate(self.keys, 1))
            columns = ", ".join(f"ADD COLUMN {name} {kind} NOT NULL" for name, kind in parts)
            known = ", ".join(f"key_{at}" for at in range(1, len(self.key) + 1))
            made = [
                f"CREATE TABLE {self.companion} AS SELECT {keys} FROM {self.source} WITH NO DATA",
                f"ALTER TABLE {self.companion} {columns}, ADD COLUMN part_start integer, "
                "ADD COLUMN part_length integer, ADD PRIMARY KEY (id)",
                f"CREATE INDEX {self._index('key')} ON {self.companion} ({known})",
            ]
        errors = f'CREATE TABLE {self.errors} (id text COLLATE "C" PRIMARY KEY, reason text NOT NULL)'
        following = self._queueing() if self.triggers else self._seeing() if self.version else []
        return [*made, errors, self._view(), *following]

    def index(self, *, hnsw: bool) -> list[tuple[str, str]]:
        """Name and statement of each index, to be built CONCURRENTLY after the load."""
        column, where = self.column("embedding"), self.companion
        classes = f"{self.kind}_{_OPERATORS[self.metric]}_ops"
        found = [("tokens", f"USING gin ({self.column('tokens')})")]
        if self.in_table:
            found.append(("id", f"({self.column('id')})"))
        if hnsw:
            form = f"(m = {int(self.m)}, ef_construction = {int(self.ef_construction)})"
            found.append(("hnsw", f"USING hnsw ({column} {classes}) WITH {form}"))
        unique = {"id": "UNIQUE "}
        return [
            (
                f"qvec_{self.number}_{name}",
                f"CREATE {unique.get(name, '')}INDEX CONCURRENTLY {self._index(name)} ON {where} {how}",
            )
            for name, how in found
        ]

    def in_schema(self, name: str) -> str:
        """Name one of the indexes where it must be found: an index lies in the schema of its table."""
        return quoted(self.schema, name) if self.in_table else quoted(name)

    def teardown(self) -> list[str]:
        """The statements, in one transaction, that undo `setup` and all indexes."""
        dropped = ", ".join(f"DROP COLUMN IF EXISTS {self.column(name)}" for name in _COLUMNS)
        vectors = (
            f"ALTER TABLE IF EXISTS {self.source} {dropped}"
            if self.in_table
            else f"DROP TABLE IF EXISTS {self.companion}"
        )
        queueing = [
            f"DROP TRIGGER IF EXISTS {self._index('sync')} ON {self.source}",
            f"DROP TRIGGER IF EXISTS {self._index('truncate')} ON {self.source}",
            f"DROP FUNCTION IF EXISTS {self._index('enqueue')}()",
            f"DROP TABLE IF EXISTS {self.queue}",
        ]
        return [
            "SET LOCAL lock_timeout = '5s'",
            *(queueing if self.triggers else []),
            *([f"DROP TABLE IF EXISTS {self.seen}"] if self.version else []),
            f"DROP VIEW IF EXISTS {self.view}",
            vectors,
            f"DROP TABLE IF EXISTS {self.errors}",
        ]

    def page(self, *, from_start: bool) -> str:
        """Read the next rows in the order of the key: key as text, text, metadata."""
        keys = ", ".join(f"t.{key}::text" for key in self.keys)
        order = ", ".join(f"t.{key}" for key in self.keys)
        return (
            f"SELECT ARRAY[{keys}], {self.text}, ({self.metadata})::text FROM {self._from(from_start=from_start)} "
            f"ORDER BY {order} LIMIT %(size)s"
        )

    def count(self, *, from_start: bool) -> str:
        """Count the rows that `page` reads from there on."""
        return f"SELECT count(*) FROM {self._from(from_start=from_start)}"

    def _from(self, *, from_start: bool) -> str:
        order = ", ".join(f"t.{key}" for key in self.keys)
        after = ", ".join(f"CAST(%(key_{at})s AS {kind})" for at, (_, kind) in enumerate(self.key, 1))
        return f"{self.source} t" + ("" if from_start else f" WHERE ({order}) > ({after})")

    def rows(self) -> str:
        """Read rows by key, as `page` does."""
        keys = ", ".join(f"t.{key}::text" for key in self.keys)
        return (
            f"SELECT ARRAY[{keys}], {self.text}, ({self.metadata})::text FROM {self.source} t WHERE {self.is_among()}"
        )

    def is_among(self) -> str:
        """The condition that a row `t` has one of the keys ``key_1`` ..., a list for each column."""
        lists = ", ".join(f"CAST(%(key_{at})s AS {kind}[])" for at, (_, kind) in enumerate(self.key, 1))
        return f"({', '.join(f't.{key}' for key in self.keys)}) IN (SELECT * FROM unnest({lists}))"

    def records_by_key(self) -> str:
        """Read key, id and digest of the records of rows."""
        lists = ", ".join(f"CAST(%(key_{at})s AS {kind}[])" for at, (_, kind) in enumerate(self.key, 1))
        keys = self.keys if self.in_table else [f"key_{at}" for at in range(1, len(self.key) + 1)]
        return (
            f"SELECT ARRAY[{', '.join(f'{key}::text' for key in keys)}], {self.column('id')}, {self.column('digest')} "
            f"FROM {self.companion} WHERE ({', '.join(keys)}) IN (SELECT * FROM unnest({lists})) "
            f"AND {self.column('embedding')} IS NOT NULL"
        )

    def orphans(self) -> str:
        """Read the ids of records whose rows are gone."""
        same = " AND ".join(f"t.{key} = r.key_{at}" for at, key in enumerate(self.keys, 1))
        return (
            f"SELECT r.id FROM {self.companion} r WHERE NOT EXISTS (SELECT FROM {self.source} t WHERE {same}) "
            "ORDER BY r.id"
        )

    @property
    def queue(self) -> str:
        """The table of keys whose rows have changed."""
        return quoted(f"qvec_{self.number}_queue")

    @property
    def seen(self) -> str:
        """The table of each row's version when it was embedded."""
        return quoted(f"qvec_{self.number}_seen")

    def _seeing(self) -> list[str]:
        """The statements that note every row's version; read before its text is, so that no change goes unseen."""
        keys = ", ".join(f"{key} AS key_{at}" for at, key in enumerate(self.keys, 1))
        names = ", ".join(f"key_{at}" for at in range(1, len(self.key) + 1))
        return [
            f"CREATE TABLE {self.seen} AS SELECT {keys}, {quoted(self.version)}::text AS version FROM {self.source}",
            f"ALTER TABLE {self.seen} ADD PRIMARY KEY ({names}), ADD COLUMN tries integer NOT NULL DEFAULT 0, "
            "ADD COLUMN due timestamptz",
        ]

    def _queueing(self) -> list[str]:
        """The statements that make queue and trigger; writers wait for the trigger's lock at most an instant."""
        names = ", ".join(f"key_{at}" for at in range(1, len(self.key) + 1))
        keys = ", ".join(f"{key} AS key_{at}" for at, key in enumerate(self.keys, 1))
        old, new = (", ".join(f"{row}.{key}" for key in self.keys) for row in ("OLD", "NEW"))
        # Another column's update changes no vector; it reaches searches through the view at once.
        watched = ", ".join(
            quoted(name) for name in dict.fromkeys([*self.fields.id, *self.fields.text_columns, *self.title])
        )
        return [
            f"CREATE TABLE {self.queue} AS SELECT {keys} FROM {self.source} WITH NO DATA",
            f"ALTER TABLE {self.queue} ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "ADD COLUMN queued_at timestamptz NOT NULL DEFAULT clock_timestamp(), "
            "ADD COLUMN tries integer NOT NULL DEFAULT 0, "
            "ADD COLUMN due timestamptz NOT NULL DEFAULT clock_timestamp()",
            # Its owner's rights and schema: who writes to the table need not know of the queue.
            f"CREATE FUNCTION {self._index('enqueue')}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            "SET search_path FROM CURRENT AS $body$ BEGIN "
            # A change without a key is that of the whole table. To empty the companion here, the writer would have to
            # wait for workers, which wait for the writer's table.
            f"IF TG_OP = 'TRUNCATE' THEN INSERT INTO {self.queue} DEFAULT VALUES; RETURN NULL; END IF; "
            f"IF TG_OP <> 'INSERT' THEN INSERT INTO {self.queue} ({names}) VALUES ({old}); END IF; "
            f"IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND ({old}) IS DISTINCT FROM ({new})) THEN "
            f"INSERT INTO {self.queue} ({names}) VALUES ({new}); END IF; RETURN NULL; END $body$",
            f"CREATE TRIGGER {self._index('sync')} AFTER INSERT OR DELETE OR UPDATE OF {watched} ON {self.source} "
            f"FOR EACH ROW EXECUTE FUNCTION {self._index('enqueue')}()",
            f"CREATE TRIGGER {self._index('truncate')} AFTER TRUNCATE ON {self.source} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self._index('enqueue')}()",
        ]

    def view_again(self) -> str:
        """The statement that makes the view anew, once `others` has changed."""
        return self._view().replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)

    def _view(self) -> str:
        alias = "t" if self.in_table else "r"
        own = {name: f"{alias}.{self.column(name)}" for name in _COLUMNS}
        if self.in_table:
            source, body, origin = own["id"], self.text, f"{self.source} t"
            condition = f"WHERE {own['embedding']} IS NOT NULL"
        else:
            source = "CASE WHEN r.part_start IS NULL THEN r.id ELSE regexp_replace(r.id, '#part[0-9]+$', '') END"
            body = (
                f"CASE WHEN r.part_start IS NULL THEN {self.text} "
                f"ELSE substr({self.text}, r.part_start, r.part_length) END"
            )
            joined = " AND ".join(f"t.{key} = r.key_{at}" for at, key in enumerate(self.keys, 1))
            origin, condition = f"{self.companion} r JOIN {self.source} t ON {joined}", ""
        return (
            f'CREATE VIEW {self.view} AS SELECT {own["id"]} AS id, {source} COLLATE "C" AS source, '
            f"{own['digest']} AS digest, {body} AS body, {self.metadata} AS metadata, NULL::text AS metadata_json, "
            f"{own['tokens']} AS tokens, {own['token_count']} AS token_count, {own['zero']} AS zero, "
            f"{own['embedding']} AS embedding FROM {origin} {condition}"
        )

    def _index(self, name: str) -> str:
        return quoted(f"qvec_{self.number}_{name}")
