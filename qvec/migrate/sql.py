"""Rows from any SQL database that SQLAlchemy knows, a page a statement in the order of a key."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from qvec.errors import BackendConnectionError, BackendError, ConfigError, InvalidInputError, MissingDriverError
from qvec.migrate.errors import MigrationError
from qvec.migrate.fields import FieldMap, plain
from qvec.migrate.source import Facts, Position, Record, Sampled
from qvec.migrate.stated import read_vector
from qvec.types import CollectionSpec

if TYPE_CHECKING:
    import sqlalchemy as sa

LOCKS = (
    "without options: ACCESS SHARE, as a SELECT takes it; nobody waits",
    "triggers: SHARE ROW EXCLUSIVE for an instant; it waits for writers that are under way, and later ones wait for it",
    "in_table: ACCESS EXCLUSIVE for an instant, given up after 5 s of waiting; then row locks of one batch at a time",
    "indexes: SHARE UPDATE EXCLUSIVE (CONCURRENTLY); neither readers nor writers wait",
)
"""What `attach` takes; ALTER TABLE adds columns without a default, which writes no row anew."""
PAGE = 1000
_SHOWN = 5


def engine_of(url: str) -> sa.Engine:
    """Connect to a database by its SQLAlchemy URL; ``postgresql://`` takes psycopg 3.

    Raises:
        MissingDriverError: SQLAlchemy is not installed.
        ConfigError: the URL cannot be read, or its driver is not installed.
    """
    try:
        import sqlalchemy as sa
    except ImportError as exc:
        raise MissingDriverError("sqlalchemy", "migrate") from exc
    try:
        found = sa.make_url(url)
        if found.drivername in {"postgresql", "postgres"}:
            found = found.set(drivername="postgresql+psycopg")
        return sa.create_engine(found)
    except ImportError as exc:
        raise ConfigError(f"the driver of {found.drivername} is not installed: {exc}") from exc
    except sa.exc.ArgumentError:
        # Without the cause, whose message quotes the URL with its password.
        raise ConfigError("the database URL cannot be read: it looks like sqlite:///file.db") from None


@contextmanager
def sql_errors(name: str) -> Iterator[None]:
    """Raise qvec's errors for SQLAlchemy's; `name` is the database without secrets."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.OperationalError as exc:
        raise BackendConnectionError(f"{name}: {_said(exc)}") from exc
    except sa.exc.NoSuchTableError as exc:
        raise InvalidInputError(f"{name} has no table {exc}") from exc
    except sa.exc.SQLAlchemyError as exc:
        raise BackendError(f"{name}: {_said(exc)}") from exc


def reflect(engine: sa.Engine, table: str, schema: str | None) -> sa.Table:
    """Read a table's columns and keys; both names are taken literally, quoted where they must be."""
    import sqlalchemy as sa

    with warnings.catch_warnings():
        # A column type that SQLAlchemy does not know (vector, geometry) is read as the driver gives it.
        warnings.filterwarnings("ignore", message="Did not recognize type", category=sa.exc.SAWarning)
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection", category=sa.exc.SAWarning)
        return sa.Table(sa.quoted_name(table, quote=None), sa.MetaData(), schema=schema, autoload_with=engine)


class SqlTable(Sampled):
    """A table, read in the order of its key.

    Attributes:
        table: as the database describes it.
        key: the columns that the id is made of and the rows are ordered by.
    """

    def __init__(self, url: str, table: str, fields: FieldMap, *, schema: str | None = None) -> None:
        self.engine = engine_of(url)
        shown = self.engine.url.render_as_string(hide_password=True)
        self.name = table
        self.spec: CollectionSpec | None = None
        self.fingerprint = f"{shown} {schema or ''} {table}"
        self._shown = shown
        with sql_errors(shown):
            self.table = reflect(self.engine, table, schema)
        columns = list(self.table.columns.keys())
        self.fields = fields.with_id(self._primary_key(fields))
        self.fields.check(columns, f"the table {table}")
        self.key = [self.table.columns[name] for name in self.fields.id]
        self._wanted = list(
            dict.fromkeys([*self.fields.id, *self.fields.text_columns, *self.fields.metadata_columns(columns)])
        ) + ([self.fields.vector] if self.fields.vector else [])
        if not self._key_is_declared():
            self._check_key()

    def count(self) -> int | None:
        """Count in the database."""
        import sqlalchemy as sa

        with sql_errors(self._shown), self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(self.table)).scalar_one())

    def records(self, after: Position = None) -> Iterator[Record]:
        """Read pages by key; no transaction stays open between them."""
        last = list(after) if isinstance(after, list) else None
        while rows := self.page(last):
            for row in rows:
                last = [_position(row[column]) for column in self.fields.id]
                place = f"{self.name}[{', '.join(map(str, last))}]"
                try:
                    vector = read_vector(row[self.fields.vector]) if self.fields.vector else None
                    yield Record(place, last, self.fields.document(row), vector=vector)
                except InvalidInputError as exc:
                    yield Record(place, last, None, str(exc))

    def page(self, last: Sequence[object] | None, size: int = PAGE) -> list[dict[str, object]]:
        """Read the next rows in the order of the key."""
        import sqlalchemy as sa

        statement = sa.select(*(self.table.columns[name] for name in self._wanted)).order_by(*self.key).limit(size)
        if last is not None:
            statement = statement.where(self._beyond(last))
        with sql_errors(self._shown), self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def sample(self, size: int, chance: Random) -> list[dict[str, object]]:
        """Let the database choose, by its own chance."""
        import sqlalchemy as sa

        order = sa.func.rand() if self.engine.dialect.name in {"mysql", "mariadb"} else sa.func.random()
        statement = sa.select(*(self.table.columns[name] for name in self._wanted)).order_by(order).limit(size)
        with sql_errors(self._shown), self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def facts(self) -> Facts:
        """Say what is known of the table: product and version, key, indexes, and what this user may do to it."""
        import sqlalchemy as sa

        with sql_errors(self._shown), self.engine.connect() as connection:
            found = sa.inspect(connection).get_indexes(self.table.name, schema=self.table.schema)
            version = ".".join(map(str, connection.dialect.server_version_info or ()))
            is_postgres = self.engine.dialect.name == "postgresql"
            allowed = self._permissions(connection) if is_postgres else {"SELECT": True}
            # The version that is installed, or could be.
            there = (
                "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = :name"
            )
            statement = sa.text(there).bindparams(name="vector")
            vector = {"extensions": {"vector": connection.execute(statement).scalar()}} if is_postgres else {}
        told: dict[str, object] = {
            "database": f"{self.engine.dialect.name} {version}",
            "key": list(self.fields.id),
            "indexes": {str(item["name"]): [str(column) for column in item["column_names"]] for item in found},
            "permissions": allowed,
            **vector,
        }
        has_none = is_postgres and vector["extensions"]["vector"] is None
        lacks = ["this server has no pgvector: install it, or copy the table elsewhere"] if has_none else []
        return Facts(told, list(LOCKS) if is_postgres else [], lacks)

    def _permissions(self, connection: sa.Connection) -> dict[str, bool]:
        import sqlalchemy as sa

        name = self.engine.dialect.identifier_preparer.format_table(self.table)
        rights = {right: sa.func.has_table_privilege(name, right) for right in ("SELECT", "TRIGGER")}
        owner = sa.text("(SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(:name))")
        here = sa.func.has_schema_privilege(sa.func.current_schema(), "CREATE")
        row = connection.execute(sa.select(*rights.values(), here, owner.bindparams(name=name))).one()
        return dict(zip([*rights, "CREATE TABLE", "ALTER TABLE"], map(bool, row), strict=True))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _beyond(self, last: Sequence[object]) -> sa.ColumnElement[bool]:
        """Key greater than `last`, written out: not every database compares rows of values, or by an index."""
        import sqlalchemy as sa

        values = [_native(column, value) for column, value in zip(self.key, last, strict=True)]
        steps = []
        for at, column in enumerate(self.key):
            same = [other == value for other, value in zip(self.key[:at], values, strict=False)]
            steps.append(sa.and_(*same, column > values[at]))
        return sa.or_(*steps)

    def _primary_key(self, fields: FieldMap) -> list[str]:
        found = [column.name for column in self.table.primary_key.columns]
        if not found and not fields.id:
            raise MigrationError(
                f"the table {self.name} has no primary key: name columns that are unique and never NULL with "
                "id=('column', ...), --id on the command line, or add a key to the table"
            )
        return found

    def _key_is_declared(self) -> bool:
        import sqlalchemy as sa

        names = {column.name for column in self.key}
        if names == {column.name for column in self.table.primary_key.columns}:
            return True
        unique = [item for item in self.table.constraints if isinstance(item, sa.UniqueConstraint)]
        return not any(column.nullable for column in self.key) and any(
            names == {column.name for column in item.columns} for item in unique
        )

    def _check_key(self) -> None:
        import sqlalchemy as sa

        twice = sa.select(*self.key).group_by(*self.key).having(sa.func.count() > 1).limit(_SHOWN)
        empty = sa.select(sa.func.count()).where(sa.or_(*(column.is_(None) for column in self.key)))
        with sql_errors(self._shown), self.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(twice)]
            nulls = int(connection.execute(empty).scalar_one())
        columns = ", ".join(self.fields.id)
        if found:
            raise MigrationError(f"{columns} does not tell the rows of {self.name} apart: {found} occur more than once")
        if nulls:
            raise MigrationError(f"{columns} is NULL in {nulls} rows of {self.name}: take a column that never is")


def _position(value: object) -> int | str:
    found = plain(value)
    return found if isinstance(found, int) and not isinstance(found, bool) else _iso(found)


def _iso(value: object) -> str:
    from datetime import date

    return value.isoformat() if isinstance(value, date) else str(value)


def _native(column: sa.ColumnElement[object], value: object) -> object:
    """Give a key that was kept as JSON the type that its column takes."""
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    try:
        kind = column.type.python_type
    except NotImplementedError:
        return value
    makers: dict[type, Callable[[str], object]] = {
        UUID: UUID,
        Decimal: Decimal,
        datetime: datetime.fromisoformat,
        date: date.fromisoformat,
        float: float,
    }
    return makers[kind](str(value)) if kind in makers else value


def _said(exc: Exception) -> str:
    return " ".join(str(getattr(exc, "orig", None) or exc).split())
