"""What a user must be allowed to do to a table before it is attached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qvec.migrate.errors import MigrationError
from qvec.migrate.pg_rows import run
from qvec.migrate.pg_table import PgTable

if TYPE_CHECKING:
    import sqlalchemy as sa

_RIGHTS = """
SELECT pg_has_role(relowner, 'USAGE'), has_table_privilege(oid, 'TRIGGER'), has_table_privilege(oid, 'SELECT'),
    has_database_privilege(current_database(), 'TEMPORARY')
FROM pg_class WHERE oid = to_regclass(%(name)s)
"""


def check_rights(connection: sa.Connection, table: PgTable) -> None:
    """Check before anything is made.

    Raises:
        MigrationError: a right is missing; it says what can be done without.
    """
    name = table.source.replace("%%", "%")
    is_owner, may_trigger, may_read, may_stage = run(connection, _RIGHTS, {"name": name}).one()
    connection.rollback()
    if not may_read:
        raise MigrationError(f"this user may not read {name}: GRANT SELECT to it")
    if not may_stage:
        raise MigrationError(
            "this user may not make temporary tables, through which rows are written: GRANT TEMPORARY ON DATABASE to it"
        )
    if table.in_table and not is_owner:
        raise MigrationError(
            f"this user may not alter {name}, which its owner may: leave in_table off, and a companion table holds the "
            "vectors, or attach as the owner"
        )
    if table.triggers and not may_trigger:
        raise MigrationError(
            f"this user has no right to make triggers on {name}: GRANT TRIGGER to it, or name a version column, or do "
            "without and run attach again to follow changes"
        )
