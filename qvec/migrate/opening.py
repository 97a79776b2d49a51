"""From an address to a source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qvec.errors import CollectionExistsError, CollectionNotFoundError, InvalidInputError, QvecError
from qvec.foreign import with_layout
from qvec.layouts import to_layout
from qvec.migrate.collections import CollectionSource
from qvec.migrate.fields import FieldMap
from qvec.migrate.files import open_file
from qvec.migrate.indexes import IndexSource
from qvec.migrate.source import Source
from qvec.migrate.sql import SqlTable
from qvec.registry import open_adapter
from qvec.surveying import SupportsSurvey
from qvec.uri import URI

PGAI = FieldMap(("embedding_uuid",), "chunk", vector="embedding")
"""What pgai's vectorizers write: a table of chunks, and a view of it with the columns of the table they are from."""


def open_source(
    address: str,
    fields: FieldMap,
    *,
    table: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
    layout: str | None = None,
) -> Source:
    """Open what a migration reads.

    Args:
        address: a file (.jsonl, .csv, .tsv, .parquet); a SQLAlchemy URL with `table`; or the URI of one of qvec's
            databases with `collection`.
        fields: which columns become what; nothing of it concerns a collection of qvec's or of a layout.
        table: of a SQL database; taken literally.
        schema: of the table.
        collection: of a qvec database, or of the program that `layout` names; in Elasticsearch and Milvus also an
            index or a collection of any other program.
        layout: another program's: ``"langchain"`` or ``"llamaindex"`` with `collection`, ``"pgai"`` with `table`, its
            view or its table of embeddings.

    Raises:
        InvalidInputError: no such file, table or column.
        QvecError: as its database says.
    """
    if layout == "pgai":
        if table is None:
            raise InvalidInputError("name the table: pgai's view, or its table of embeddings")
        fields = replace(PGAI, metadata=fields.metadata)
    if table is not None:
        return SqlTable(address, table, fields, schema=schema)
    if collection is not None:
        uri = URI.parse(address)
        adapter = open_adapter(uri)
        try:
            opened = adapter if layout is None else with_layout(adapter, to_layout(layout))
            try:
                return CollectionSource(opened, collection, str(uri))
            except (CollectionNotFoundError, CollectionExistsError):
                # Milvus has one namespace: there it exists, and is not qvec's.
                if not isinstance(opened, SupportsSurvey):
                    raise
                return IndexSource(opened, opened, collection, fields, str(uri))
        except QvecError:
            adapter.close()
            raise
    if "://" in address:
        raise InvalidInputError(f"{URI.parse(address)}: name the table, or the collection that is to be read")
    return open_file(Path(address), fields)
