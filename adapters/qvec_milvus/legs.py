"""The two legs: ranked ids, with the rows that came along; who shows hits reads the documents that did not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qvec.lexical import query_terms
from qvec.types import CollectionSpec, Document, Metric, Vectors
from qvec_milvus import schema
from qvec_milvus.analyzers import cutter
from qvec_milvus.bm25 import Keywords
from qvec_milvus.connection import Connection, KeywordForm
from qvec_milvus.filters import among
from qvec_milvus.held import HeldPostings
from qvec_milvus.keywords import BM25_SCALE, words
from qvec_milvus.maxscore import RareFirst
from qvec_milvus.postings import in_words
from qvec_milvus.reading import Reader
from qvec_milvus.search import ranked
from qvec_milvus.totals import LiteTotals, ServerTotals

READ_AT_ONCE = 1000
DEFAULT_EF = 256
"""Finds .994 of the ten nearest among SciFact's 5,183 texts, and 128 finds .976; adds a tenth to a trip of 5 ms."""

_DEFAULT_NPROBE = 32


@dataclass(slots=True)
class Found:
    """What a leg found for one query.

    Attributes:
        ranked: ids and scores, best first, ties by id.
        documents: those that came along.
    """

    ranked: list[tuple[str, float]] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)


class Legs:
    """Ask either leg of a collection.

    Args:
        connection: to Milvus.
        reader: of the collections.
        totals: of the collections.
    """

    def __init__(self, connection: Connection, reader: Reader, totals: LiteTotals | ServerTotals) -> None:
        self._connection = connection
        self._reader = reader
        self._keywords = (
            Keywords(reader, totals, in_words, held=HeldPostings(totals.turn).of)
            if isinstance(totals, LiteTotals)
            else RareFirst(reader, totals)
        )

    def dense(
        self, spec: CollectionSpec, queries: Vectors, depth: int, expression: str, ef: int | None, *, ids_alone: bool
    ) -> list[Found]:
        """Rank the nearest records of each query."""
        if not len(queries):
            return []
        kind = spec.index.kind if spec.index.kind != "auto" else self._connection.auto_kind
        inner = {"hnsw": {"ef": ef or DEFAULT_EF}, "ivf": {"nprobe": ef or _DEFAULT_NPROBE}}.get(kind, {})
        fields = ["id"] if ids_alone else schema.READ
        loses_zeros = spec.metric is Metric.COSINE and not self._connection.is_lite
        with self._connection.reading(spec.name):
            answers = ranked(
                self._connection,
                spec.name,
                # pymilvus 3.0 packs each number by itself: a list's in a quarter of the time that an array's take.
                queries.tolist(),
                depth,
                field="vector",
                settings={"metric_type": schema.METRICS[spec.metric], "params": inner},
                expression=expression,
                score=_minus_root if spec.metric is Metric.L2 else float,
                fields=fields,
                # A server of 2.3 leaves out the vectors of zero length, whose cosine it cannot compute.
                zeros=partial(self._zeros, spec.name, expression, fields) if loses_zeros else None,
            )
        return [_found(rows, ids_alone=ids_alone) for rows in answers]

    def lexical(
        self,
        spec: CollectionSpec,
        keywords: KeywordForm,
        queries: Sequence[str],
        depth: int,
        expression: str,
        *,
        ids_alone: bool,
    ) -> list[Found]:
        """Rank the best records of each query by BM25."""
        if keywords == "function":
            return [self._by_function(spec, query, depth, expression, ids_alone=ids_alone) for query in queries]
        cut = cutter(spec.analyzer)
        if isinstance(self._keywords, Keywords):
            return [Found(each[:depth]) for each in self._keywords.ranked(spec.name, queries, expression, cut)]
        return [Found(self._keywords.ranked(spec.name, query, expression, cut, depth)) for query in queries]

    def documents(self, name: str, ids: Sequence[str]) -> dict[str, Document]:
        """Read documents by id."""
        distinct = list(dict.fromkeys(ids))
        parts = [distinct[start : start + READ_AT_ONCE] for start in range(0, len(distinct), READ_AT_ONCE)]
        rows = (row for part in parts for row in self._reader.rows(name, among("id", part), schema.READ))
        return {row["id"]: schema.document(row) for row in rows}

    def _by_function(self, spec: CollectionSpec, query: str, depth: int, expression: str, *, ids_alone: bool) -> Found:
        text = words(query_terms(query)) if spec.analyzer is None else query.strip()
        if not text:
            return Found()
        with self._connection.reading(spec.name):
            [rows] = ranked(
                self._connection,
                spec.name,
                [text],
                depth,
                field="keywords",
                settings={"metric_type": "BM25"},
                expression=expression,
                score=_bm25,
                fields=["id"] if ids_alone else schema.READ,
            )
        return _found(rows, ids_alone=ids_alone)

    def _zeros(self, name: str, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        also = f" and ({expression})" if expression else ""
        rows = self._reader.rows(name, f"{schema.HAS_ZERO_VECTOR}{also}", fields)
        return [{"id": row["id"], "distance": 0.0, "entity": row} for row in rows]


def _found(rows: Sequence[tuple[float, Mapping[str, Any]]], *, ids_alone: bool) -> Found:
    documents = {} if ids_alone else {row["id"]: schema.document(row["entity"]) for _, row in rows}
    return Found([(row["id"], score) for score, row in rows], documents)


def _minus_root(distance: float) -> float:
    return -math.sqrt(max(distance, 0.0))


def _bm25(score: float) -> float:
    return abs(score) * BM25_SCALE
