"""Where tables that other programs wrote keep what qvec reads, and the presets for those of the frameworks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qvec.errors import ConfigError
from qvec.types import Metric, Passport


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A table of collections, where one table holds the records of several.

    Attributes:
        table: its name.
        key: its column that the records refer to.
        name: its column with the collection's name.
        column: the column of the records with the key.
    """

    table: str
    key: str
    name: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMap:
    """What the columns or fields of another program's table are to qvec.

    Attributes:
        id: its values, written as strings, are the records' ids; in Elasticsearch ``_id``.
        text: the text that was embedded.
        vector: a pgvector, Milvus or Elasticsearch vector; empty: there is none, which only Elasticsearch allows.
        metadata: a JSON object; empty: there is none.
        hidden: keys of the metadata that are the other program's bookkeeping.
        source: the key of the metadata with the id of the document that a record was cut from; empty: there is none.
        others: the remaining columns of plain types are metadata, too.
        table: the table of the collection ``{name}``.
        owner: where the collections are named, when not by their tables.
        metric: how the vectors compare; None: as their index says, else cosine.
        keywords: what a keyword search asks: a tsvector in PostgreSQL, an analyzed field in Elasticsearch, where the
            text is, if it is empty. Elsewhere qvec cuts the text into tokens of its own.
        analyzer: the PostgreSQL configuration that made the tsvector; empty: the server's default.
        passport: of the vectors, where it is known; else the caller names their model.
    """

    id: str
    text: str
    vector: str = ""
    metadata: str = ""
    hidden: tuple[str, ...] = ()
    source: str = ""
    others: bool = True
    table: str = "{name}"
    owner: Owner | None = None
    metric: Metric | None = None
    keywords: str = ""
    analyzer: str = ""
    passport: Passport | None = None

    @property
    def needed(self) -> frozenset[str]:
        """The columns without which a table is not of this layout."""
        column = self.owner.column if self.owner else ""
        return frozenset({self.id, self.text, self.vector, self.metadata, self.keywords, column} - {""})

    def name_of(self, table: str) -> str | None:
        """Tell which collection a table is; None when its name is not of this layout."""
        before, _, after = self.table.partition("{name}")
        inner = table[len(before) : len(table) - len(after)]
        return inner if inner and self.table.replace("{name}", inner) == table else None


@dataclass(frozen=True, slots=True)
class Layout:
    """The forms in which one program keeps its collections; a table takes the first that fits."""

    name: str
    forms: tuple[FieldMap, ...]


_PGVECTOR = FieldMap(
    id="id",
    text="document",
    vector="embedding",
    metadata="cmetadata",
    others=False,
    table="langchain_pg_embedding",
    owner=Owner(table="langchain_pg_collection", key="uuid", name="name", column="collection_id"),
)
_PGVECTORSTORE = FieldMap(id="langchain_id", text="content", vector="embedding", metadata="langchain_metadata")
_LANGCHAIN_MILVUS = FieldMap(id="pk", text="text", vector="vector")
_LLAMAINDEX_POSTGRES = FieldMap(
    id="node_id",
    text="text",
    vector="embedding",
    metadata="metadata_",
    hidden=("_node_content", "_node_type", "document_id", "doc_id", "ref_doc_id"),
    source="ref_doc_id",
    others=False,
    table="data_{name}",
)

LAYOUTS: Mapping[str, Layout] = {
    "langchain": Layout("langchain", (_PGVECTOR, _PGVECTORSTORE, _LANGCHAIN_MILVUS)),
    "llamaindex": Layout("llamaindex", (_LLAMAINDEX_POSTGRES,)),
}
"""The presets: langchain-postgres' PGVector and PGVectorStore, langchain-milvus, llama-index-vector-stores-postgres."""


def to_layout(layout: str | FieldMap | Layout) -> Layout:
    """Look a preset up, or make a layout of a field map.

    Raises:
        ConfigError: no preset has this name.
    """
    if isinstance(layout, Layout):
        return layout
    if isinstance(layout, FieldMap):
        return Layout("custom", (layout,))
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}: takes {', '.join(sorted(LAYOUTS))} or a qvec.layouts.FieldMap")
    return LAYOUTS[layout]
