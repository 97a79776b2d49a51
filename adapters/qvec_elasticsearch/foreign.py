"""Reading indexes that other programs made, where they lie, their keywords by their own analyzers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from qvec.attaching import is_own_name
from qvec.checks import check_k, check_vectors
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.filters import Compare, Filter, Op, matches
from qvec.foreign import ForeignAdapter
from qvec.layouts import FieldMap, Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Metric, Vector, Vectors
from qvec_elasticsearch import schema
from qvec_elasticsearch.attaching import form_of
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.filters import Query, both
from qvec_elasticsearch.foreign_fields import ForeignIndex, described
from qvec_elasticsearch.foreign_filters import narrowed
from qvec_elasticsearch.lexical import matching
from qvec_elasticsearch.reading import view
from qvec_elasticsearch.search import exactly, near, score_of

_AT_ONCE = 1000
_EXTRA = 16
_BY_SCORE = [{"_score": "desc"}, {"_shard_doc": "asc"}]
_IN_ORDER = [{"_shard_doc": "asc"}]
_NO_NAME = frozenset('*,<>|? "\\/')


class ForeignIndexes(ForeignAdapter):
    """Collections of another program in Elasticsearch: an index or an alias each.

    Args:
        connection: which this object then owns.
        layout: where the other program keeps what.
    """

    name: ClassVar[str] = "elasticsearch"

    def __init__(self, connection: Connection, layout: Layout) -> None:
        super().__init__(layout)
        self._connection = connection

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do."""
        return schema.capabilities(self._connection.number)

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read the shape from the mapping; the passport is what the layout has."""
        return self._look_up(name).spec

    def list_collections(self) -> list[str]:
        """Name the indexes of the layout; aliases lead to them as well."""
        with self._connection.use() as client:
            found = client.indices.get_mapping(index="*", expand_wildcards="open").body
        names = {
            form.name_of(index)
            for index, body in found.items()
            for form in self.layout.forms
            if not index.startswith(".") and "qvec" not in body["mappings"].get("_meta", {})
            if form.name_of(index) and described(form, index, "", body["mappings"].get("properties", {}))
        }
        return sorted(name for name in names if name)

    def mark(self, name: str) -> object:
        """Tell how many operations the shards have taken."""
        with self._connection.use(name) as client:
            found = client.indices.stats(index=self._look_up(name).index, level="shards").body
        shards = (copy for index in found["indices"].values() for copies in index["shards"].values() for copy in copies)
        return sorted(copy["seq_no"]["max_seq_no"] for copy in shards)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read searchable records by id."""
        known = self._look_up(name)
        found = {hit["_id"]: known.document(hit) for hit in self._among(known, ids)}
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read the vectors of searchable records by id."""
        known = self._look_up(name)
        hits = list(self._among(known, ids))
        return dict(zip((hit["_id"] for hit in hits), known.matrix(hits), strict=True))

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Name the records of these sources; their digests are empty."""
        source = self._look_up(name).form.source
        if not source:
            return {document.id: "" for document in self.get(name, sources)}
        cut = Compare(source, Op.IN, tuple(sources))
        return {document.id: "" for batch in self.scan(name, filter=cut) for document in batch.documents}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records as they are at the start."""
        check_k(batch_size)
        return self._walk(self._look_up(name), filter, min(batch_size, _AT_ONCE), vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in Elasticsearch, or walk the records with a filter."""
        if filter is not None:
            return sum(len(batch.documents) for batch in self.scan(name, filter=filter))
        with self._connection.use(name) as client:
            return int(client.count(index=self._look_up(name).index)["count"])

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
        """Search by the field's own index, or exactly where it has none or there is a filter."""
        check_k(k, offset)
        known = self._look_up(name)
        if not known.form.vector:
            raise UnsupportedError(f"the layout of {name!r} names no vector field: search it with mode='lexical'")
        queries = check_vectors(vectors, known.spec.dim)
        return [self._nearest(known, query, k + offset, filter, ef)[offset:] for query in queries]

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Ask the text's own field by its own analyzer; where it has none, score in this process."""
        check_k(k, offset)
        known = self._look_up(name)
        if not known.keywords:
            return super().search_lexical(name, queries, k=k, filter=filter, offset=offset)
        prefilter = narrowed(filter, known.properties)
        asked = (matching(known.keywords, query, prefilter) for query in queries)
        return [self._best(known, query, k + offset, filter)[offset:] for query in asked]

    def _nearest(
        self, known: ForeignIndex, vector: Vector, depth: int, filter: Filter | None, ef: int | None
    ) -> list[Hit]:
        metric, field = known.spec.metric, known.form.vector
        has_vector: Query = {"exists": {"field": field}}
        whole = both([has_vector, narrowed(filter, known.properties)])
        hits: list[Hit] = []
        if filter is None and known.has_index and np.any(vector):
            approximate = near(self._connection, field, vector, depth, ef)
            hits = self._best(known, exactly(metric, field, vector, approximate), depth, None)
        if len(hits) < depth:
            # A vector of zeros has no cosine: all score 0.
            is_zero = metric is Metric.COSINE and not np.any(vector)
            query = {"constant_score": {"filter": whole}} if is_zero else exactly(metric, field, vector, whole)
            hits = self._best(known, query, depth, filter)
        return [Hit(hit.document, score_of(metric, hit.score)) for hit in hits]

    def _best(self, known: ForeignIndex, query: Query, depth: int, filter: Filter | None) -> list[Hit]:
        """Rank the first hits that the filter matches, until no tie can hide behind the last."""
        kept: list[Hit] = []
        for raw in self._ranked(known, query, depth + _EXTRA if filter is None else _AT_ONCE):
            score = float(raw["_score"])
            if len(kept) >= depth and score < kept[depth - 1].score:
                break
            document = known.document(raw)
            if filter is None or matches(filter, document.metadata):
                kept.append(Hit(document, score))
        return sorted(kept, key=lambda hit: (-hit.score, hit.id))[:depth]

    def _ranked(self, known: ForeignIndex, query: Query, size: int) -> Iterator[Mapping[str, Any]]:
        """Read hits by score: one page by itself, and all that follow from one view of the index."""
        with self._connection.use(known.spec.name) as client:
            page = client.search(
                index=known.index, query=query, size=size, source_excludes=_vector(known), track_total_hits=False
            )["hits"]["hits"]
        yield from page
        if len(page) == size:
            seen = {hit["_id"] for hit in page}
            for more in self._pages(known, query, _AT_ONCE, _BY_SCORE):
                yield from (hit for hit in more if hit["_id"] not in seen)

    def _among(self, known: ForeignIndex, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(ids), _AT_ONCE):
            query: Query = {"ids": {"values": list(dict.fromkeys(ids[start : start + _AT_ONCE]))}}
            for page in self._pages(known, query, _AT_ONCE, _IN_ORDER, vectors=True):
                yield from page

    def _walk(self, known: ForeignIndex, filter: Filter | None, size: int, *, vectors: bool) -> Iterator[Batch]:
        for page in self._pages(known, narrowed(filter, known.properties), size, _IN_ORDER, vectors=vectors):
            pairs = [(known.document(hit), hit) for hit in page]
            kept = [pair for pair in pairs if filter is None or matches(filter, pair[0].metadata)]
            if kept:
                matrix = known.matrix([hit for _, hit in kept]) if vectors else None
                yield Batch([document for document, _ in kept], matrix)

    def _pages(
        self, known: ForeignIndex, query: Query, size: int, sort: list[dict[str, str]], *, vectors: bool = False
    ) -> Iterator[list[Mapping[str, Any]]]:
        fields = [{"field": known.form.vector}] if vectors and known.form.vector else None
        body = {"query": query, "sort": sort, "size": size, "fields": fields, "source_excludes": _vector(known)}
        return view(self._connection, known.index, known.spec.name, body)

    def _look_up(self, name: str) -> ForeignIndex:
        if name and _NO_NAME.isdisjoint(name) and not name.startswith(("-", "_")):
            with self._connection.use(name) as client:
                for form in self.layout.forms:
                    index = form.table.replace("{name}", name)
                    answer = client.options(ignore_status=404).indices.get_mapping(index=index)
                    for body in list(answer.body.values()) if answer.meta.status == 200 else []:
                        mappings = body["mappings"]
                        found = described(_current(form, mappings), index, name, mappings.get("properties", {}))
                        if found is not None:
                            return found
        raise CollectionNotFoundError(
            f"no collection {name!r} of the layout {self.layout.name!r} in Elasticsearch at {self._connection.place}; "
            f"there are: {', '.join(self.list_collections()) or 'none'}"
        )


def _current(form: FieldMap, mappings: Mapping[str, Any]) -> FieldMap:
    """Follow a swap of an attached index; a layout without a passport is taken by its word."""
    live = form_of(mappings) if form.passport is not None and is_own_name(form.vector) else None
    return live.layout if live is not None and live.text == form.text else form


def _vector(known: ForeignIndex) -> list[str]:
    # While a swap is open there are two.
    return ["qvec_*_vector"] if is_own_name(known.form.vector) else [known.form.vector] if known.form.vector else []
