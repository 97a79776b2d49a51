"""Reading tables that other programs made, such as LangChain's and LlamaIndex', where they lie."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from psycopg import sql

from qvec.checks import check_analyzer, check_k, check_vectors
from qvec.filters import Filter
from qvec.foreign import ForeignAdapter
from qvec.layouts import Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Metric, Vector, Vectors
from qvec_pgvector import foreign_tables, search
from qvec_pgvector.connections import Connection, Connections, VectorParameter
from qvec_pgvector.filters import compile_filter
from qvec_pgvector.foreign_lexical import Totals, ranked, totals
from qvec_pgvector.foreign_tables import ForeignTable
from qvec_pgvector.load import query_vector
from qvec_pgvector.schema import OPERATORS

_READ = sql.SQL("id, source, body, metadata::text")


class ForeignTables(ForeignAdapter):
    """Collections of another program in PostgreSQL.

    Args:
        connections: which this object then owns.
        capabilities: of the server.
        layout: where the other program keeps what.
    """

    name: ClassVar[str] = "pgvector"

    def __init__(self, connections: Connections, capabilities: Capabilities, layout: Layout) -> None:
        super().__init__(layout)
        self._connections = connections
        self._capabilities = capabilities
        self._totals: dict[str, tuple[object, Totals]] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do."""
        return self._capabilities

    def close(self) -> None:
        """Close the connections of all threads."""
        self._connections.close()

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read the shape from the catalogue; the passport is what the layout has."""
        with self._connections.use() as connection:
            return self._table(connection, name).spec

    def list_collections(self) -> list[str]:
        """Name the collections of the layout."""
        with self._connections.use() as connection:
            return foreign_tables.names(connection, self.layout)

    def mark(self, name: str) -> object:
        """Tell the rows' versions, as PostgreSQL counts them, without reading the texts."""
        with self._connections.use() as connection:
            statement = sql.SQL(
                "SELECT count(*), bit_xor(hashtextextended(place::text || ' ' || version::text, 0)) FROM {}"
            ).format(self._table(connection, name).view)
            return connection.raw.execute(statement).fetchone()

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        with self._connections.use() as connection:
            table = self._table(connection, name)
            condition, known = table.among(ids)
            statement = sql.SQL("SELECT {} FROM {} WHERE {}").format(_READ, table.view, condition)
            found = {str(row[0]): _document(row) for row in connection.raw.execute(statement, (known,))}
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read vectors by id."""
        with self._connections.use() as connection:
            table = self._table(connection, name)
            condition, known = table.among(ids)
            statement = sql.SQL("SELECT id, embedding::real[] FROM {} WHERE {}").format(table.view, condition)
            return {str(row[0]): np.array(row[1], np.float32) for row in connection.raw.execute(statement, (known,))}

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Name the records of these sources; their digests are empty."""
        with self._connections.use() as connection:
            statement = sql.SQL("SELECT id FROM {} WHERE coalesce(nullif(source, ''), id) = ANY(%s::text[])").format(
                self._table(connection, name).view
            )
            return {str(row[0]): "" for row in connection.raw.execute(statement, (list(sources),))}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records by their place in the table, a page a statement."""
        check_k(batch_size)
        self.describe_collection(name)
        return self._walk(name, filter, batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in PostgreSQL."""
        condition, values = compile_filter(filter)
        with self._connections.use() as connection:
            statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
                self._table(connection, name).view, condition
            )
            row = connection.raw.execute(statement, values).fetchone()
        return int(str(row[0])) if row else 0

    def search_dense(
        self,
        name: str,
        vectors: Vectors,
        *,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """Search by the table's own index where there is one, else exactly; `ef` is ``hnsw.ef_search``."""
        check_k(k, offset)
        depth = k + offset
        with self._connections.use() as connection:
            table = self._table(connection, name)
            queries = check_vectors(vectors, table.dim)
            search.set_breadth(connection, depth, ef)
            return [_nearest(connection, table, query, depth, filter)[offset:] for query in queries]

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Score in SQL over the layout's tsvector; without one, in this process."""
        check_k(k, offset)
        with self._connections.use() as connection:
            table = self._table(connection, name)
            if not table.form.keywords:
                return super().search_lexical(name, queries, k=k, filter=filter, offset=offset)
            if table.form.analyzer:
                check_analyzer(table.form.analyzer, self._capabilities.analyzers, self._capabilities.database)
            known = self._totals_of(connection, table)
            found = [ranked(connection, table, query, known, k=k, offset=offset, filter=filter) for query in queries]
            documents = {document.id: document for document in self.get(name, [id for hits in found for id, _ in hits])}
        return [[Hit(documents[id], score) for id, score in hits if id in documents] for hits in found]

    def refresh(self, name: str) -> None:
        """Read the texts, and count the words, anew at the next keyword search."""
        super().refresh(name)
        self._totals.pop(name, None)

    def _totals_of(self, connection: Connection, table: ForeignTable) -> Totals:
        mark = self.mark(table.name)
        held = self._totals.get(table.name)
        if held is None or held[0] != mark:
            held = self._totals[table.name] = (mark, totals(connection, table))
        return held[1]

    def _table(self, connection: Connection, name: str) -> ForeignTable:
        return foreign_tables.need(connection, self.layout, name, self._connections.place)

    def _walk(self, name: str, filter: Filter | None, size: int, *, vectors: bool) -> Iterator[Batch]:
        condition, values = compile_filter(filter)
        after = "(0,0)"
        while True:
            with self._connections.use() as connection:
                last = sql.SQL(", embedding::real[]") if vectors else sql.SQL("")
                statement = sql.SQL(
                    "SELECT {}, place::text{} FROM {} WHERE place > %s::tid AND {} ORDER BY record.place LIMIT %s"
                ).format(_READ, last, self._table(connection, name).view, condition)
                found = connection.raw.execute(statement, [after, *values, size]).fetchall()
            if not found:
                return
            after = str(found[-1][4])
            matrix = np.array([row[5] for row in found], np.float32) if vectors else None
            yield Batch([_document(row) for row in found], matrix)


def _nearest(
    connection: Connection, table: ForeignTable, vector: Vector, depth: int, filter: Filter | None
) -> list[Hit]:
    condition, values = compile_filter(filter)
    distance = sql.SQL("embedding {} %s::{}").format(OPERATORS[table.metric], sql.SQL(table.kind))
    statement = sql.SQL("SELECT {}, {} FROM {} WHERE {} ORDER BY {}, id LIMIT %s").format(
        _READ, distance, table.view, condition, distance
    )
    asked = VectorParameter(query_vector(vector))
    parameters = [asked, *values, asked, depth]
    found = connection.raw.execute(statement, parameters).fetchall()
    if len(found) < depth and table.has_index:
        with connection.raw.transaction():
            connection.raw.execute(search.EXACTLY)
            found = connection.raw.execute(statement, parameters).fetchall()
    hits = [Hit(_document(row), _score(table.metric, float(str(row[4])))) for row in found]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _score(metric: Metric, distance: float) -> float:
    # pgvector has no cosine for a vector of zeros and says NaN.
    if math.isnan(distance):
        return 0.0
    return (1.0 if metric is Metric.COSINE else 0.0) - distance


def _document(row: Sequence[object]) -> Document:
    identity, source, body, metadata = (str(value) for value in row[:4])
    return Document(identity, body, json.loads(metadata), source)
