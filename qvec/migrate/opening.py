"""From an address to a source."""

from __future__ import annotations

from pathlib import Path

from qvec.errors import InvalidInputError, QvecError
from qvec.migrate.collections import CollectionSource
from qvec.migrate.fields import FieldMap
from qvec.migrate.files import open_file
from qvec.migrate.source import Source
from qvec.migrate.sql import SqlTable
from qvec.registry import open_adapter
from qvec.uri import URI


def open_source(
    address: str,
    fields: FieldMap,
    *,
    table: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
) -> Source:
    """Open what a migration reads.

    Args:
        address: a file (.jsonl, .csv, .tsv, .parquet); a SQLAlchemy URL with `table`; or the URI of one of qvec's
            databases with `collection`.
        fields: which columns become what; nothing of it concerns a collection.
        table: of a SQL database; taken literally.
        schema: of the table.
        collection: of a qvec database.

    Raises:
        InvalidInputError: no such file, table or column.
        QvecError: as its database says.
    """
    if table is not None:
        return SqlTable(address, table, fields, schema=schema)
    if collection is not None:
        uri = URI.parse(address)
        adapter = open_adapter(uri)
        try:
            return CollectionSource(adapter, collection, str(uri))
        except QvecError:
            adapter.close()
            raise
    if "://" in address:
        raise InvalidInputError(f"{URI.parse(address)}: name the table, or the collection that is to be read")
    return open_file(Path(address), fields)
