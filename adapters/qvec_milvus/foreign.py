"""Reading Milvus collections that other programs made, such as LangChain's, where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from qvec.attaching import is_own_name
from qvec.checks import check_k, check_vectors
from qvec.errors import CollectionNotFoundError
from qvec.filters import Compare, Filter, Op, matches
from qvec.foreign import ForeignAdapter
from qvec.layouts import FieldMap, Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Metric, Vector, Vectors
from qvec_milvus import twins
from qvec_milvus.connection import Connection
from qvec_milvus.foreign_fields import ForeignCollection, describe
from qvec_milvus.legs import DEFAULT_EF
from qvec_milvus.naming import own_name
from qvec_milvus.reading import Reader
from qvec_milvus.search import MAX_WINDOW

_AT_ONCE = 500
_SPARE = 4


class ForeignCollections(ForeignAdapter):
    """Collections of another program in Milvus.

    Filters are evaluated here, over the hits of a search that is widened until enough match: they mean the same as on
    every other database, and need no fields of qvec's.

    Args:
        connection: which this object then owns.
        capabilities: of this Milvus.
        layout: where the other program keeps what.
    """

    name: ClassVar[str] = "milvus"

    def __init__(self, connection: Connection, capabilities: Capabilities, layout: Layout) -> None:
        super().__init__(layout)
        self._connection = connection
        self._capabilities = capabilities
        self._reader = Reader(connection)
        self._known: dict[str, ForeignCollection] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What this Milvus can do."""
        return self._capabilities

    def close(self) -> None:
        """Let go of the server or the file."""
        self._connection.close()

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read the shape from Milvus; the passport is what the layout has."""
        self._known.pop(name, None)
        return self._look_up(name).spec

    def list_collections(self) -> list[str]:
        """Name the collections of the layout."""
        with self._connection.use() as client:
            tables = [str(table) for table in client.list_collections()]
            return sorted(
                str(form.name_of(table))
                for table in tables
                for form in self._forms(table)
                if describe(client, form, table) is not None
            )

    def mark(self, name: str) -> object:
        """Count the records: Milvus tells of no other change."""
        return self.count(name)

    def refresh(self, name: str) -> None:
        """Look at the collection, and read its texts, anew."""
        self._known.pop(name, None)
        super().refresh(name)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        found = {document.id: document for document in map(self._look_up(name).document, self._among(name, ids, []))}
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read vectors by id."""
        known = self._look_up(name)
        rows = self._among(name, ids, [known.form.vector])
        return {str(row[known.form.id]): np.array(row[known.form.vector], np.float32) for row in rows}

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Name the records of these sources; their digests are empty."""
        known = self._look_up(name)
        if not known.form.source:
            return {document.id: "" for document in self.get(name, sources)}
        cut = Compare(known.form.source, Op.IN, tuple(sources))
        return {document.id: "" for batch in self.scan(name, filter=cut) for document in batch.documents}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records in order of id; a filter is applied here."""
        check_k(batch_size)
        self.describe_collection(name)
        return self._walk(name, filter, batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in Milvus, or walk the records with a filter."""
        if filter is None:
            return self._reader.count(self._look_up(name).table)
        return sum(len(batch.documents) for batch in self.scan(name, filter=filter))

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
        """Search by the collection's own index; `ef` is HNSW's breadth."""
        check_k(k, offset)
        known = self._look_up(name)
        queries = check_vectors(vectors, known.spec.dim)
        return [self._nearest(known, query, k + offset, filter, ef)[offset:] for query in queries]

    def _nearest(
        self, known: ForeignCollection, query: Vector, depth: int, filter: Filter | None, ef: int | None
    ) -> list[Hit]:
        limit = min(depth + _SPARE, MAX_WINDOW)
        while True:
            hits = self._ask(known, query, limit, "", ef)
            kept = [hit for hit in hits if filter is None or matches(filter, hit.metadata)]
            # The last of a full window may tie with what lies beyond it.
            is_whole = len(hits) < limit or limit == MAX_WINDOW
            if is_whole or (len(kept) >= depth and kept[depth - 1].score > hits[-1].score):
                break
            limit = min(limit * 4, MAX_WINDOW)
        if filter is not None and len(kept) < depth and len(hits) == MAX_WINDOW:
            kept = self._nearest_of_matching(known, query, depth, filter, ef)
        return sorted(kept, key=lambda hit: (-hit.score, hit.id))[:depth]

    def _nearest_of_matching(
        self, known: ForeignCollection, query: Vector, depth: int, filter: Filter, ef: int | None
    ) -> list[Hit]:
        ids = [document.id for batch in self.scan(known.spec.name, filter=filter) for document in batch.documents]
        limit = min(max(depth, _AT_ONCE), MAX_WINDOW)
        return list(
            chain.from_iterable(
                self._ask(known, query, limit, known.among(ids[start : start + _AT_ONCE]), ef)
                for start in range(0, len(ids), _AT_ONCE)
            )
        )

    def _ask(self, known: ForeignCollection, query: Vector, limit: int, expression: str, ef: int | None) -> list[Hit]:
        inner = {"ef": max(ef or DEFAULT_EF, limit)} if known.index == "HNSW" else {}
        with self._connection.use() as client:
            found = client.search(
                known.table,
                [query],
                anns_field=known.form.vector,
                limit=limit,
                search_params={"metric_type": known.metric_type, "params": inner},
                filter=expression,
                output_fields=known.fields,
                consistency_level=self._connection.level(known.table),
            )[0]
        return [Hit(known.document(row["entity"]), _score(known.spec.metric, row["distance"])) for row in found]

    def _among(self, name: str, ids: Sequence[str], also: list[str]) -> Iterator[dict[str, Any]]:
        known = self._look_up(name)
        for start in range(0, len(ids), _AT_ONCE):
            expression = known.among(ids[start : start + _AT_ONCE])
            if expression:
                yield from self._reader.rows(known.table, expression, [*known.fields, *also])

    def _walk(self, name: str, filter: Filter | None, size: int, *, vectors: bool) -> Iterator[Batch]:
        known = self._look_up(name)
        fields = [*known.fields, known.form.vector] if vectors else known.fields
        for page in self._reader.pages(known.table, known.everything, fields, size, key=known.form.id):
            rows = [(known.document(row), row) for row in page]
            kept = [(document, row) for document, row in rows if filter is None or matches(filter, document.metadata)]
            if kept:
                matrix = np.array([row[known.form.vector] for _, row in kept], np.float32) if vectors else None
                yield Batch([document for document, _ in kept], matrix)

    def _look_up(self, name: str) -> ForeignCollection:
        self._connection.check_open()
        with self._connection.use() as client:
            known = self._known.get(name)
            if known is not None and self._is_there(client, known, name):
                return known
            for form in self.layout.forms:
                table = form.table.replace("{name}", name)
                if form.owner is None and client.has_collection(table):
                    # A swap may move an alias between two requests: all are about the collection behind it now.
                    own = own_name(client, table)
                    found = describe(client, _current(self._connection, form, table, own), own)
                    if found is not None:
                        client.load_collection(own)
                        self._known[name] = replace(found, spec=replace(found.spec, name=name))
                        return self._known[name]
        raise CollectionNotFoundError(
            f"no collection {name!r} of the layout {self.layout.name!r} in Milvus at {self._connection.place}; "
            f"there are: {', '.join(self.list_collections()) or 'none'}"
        )

    def _is_there(self, client: Any, known: ForeignCollection, name: str) -> bool:
        """Tell that a collection is the one behind its name still, which a swap may have moved if it is an alias."""
        table = known.form.table.replace("{name}", name)
        return known.table == table or (client.has_collection(table) and own_name(client, table) == known.table)

    def _forms(self, table: str) -> Iterator[FieldMap]:
        return (form for form in self.layout.forms if form.owner is None and form.name_of(table))


def _current(connection: Connection, form: FieldMap, table: str, own: str) -> FieldMap:
    """Follow a swap of an attached collection; a layout without a passport is taken by its word."""
    if form.passport is None or not is_own_name(form.vector) or own not in twins.names(table):
        return form
    twin = twins.read(connection, table, own)
    return twin.form.layout if twin is not None and twin.form.text == form.text else form


def _score(metric: Metric, distance: float) -> float:
    # Equal vectors come back with scores that differ in the last bit of a float32, by where they lie in memory.
    value = -math.sqrt(max(distance, 0.0)) if metric is Metric.L2 else distance
    return float(f"{value:.6g}")
