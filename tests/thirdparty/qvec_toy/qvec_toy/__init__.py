"""A dict, in a JSON file if it has a path, as a database for qvec. It has no keyword leg, and says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np

from qvec.adapter import Adapter
from qvec.checks import check_batch, check_held, check_k, check_spec, check_vectors
from qvec.errors import (
    BackendConnectionError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
    UnsupportedError,
)
from qvec.filters import Filter, matches
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, IndexSpec, Metric, Passport, Vectors
from qvec.uri import URI

__all__ = ["ToyAdapter"]

MAX_TEXT_BYTES = 20_000


class Row(NamedTuple):
    document: str
    vector: list[float]

    def read(self) -> Document:
        return Document(**json.loads(self.document))


class ToyAdapter(Adapter):
    """Keep every collection in one dict."""

    name: ClassVar[str] = "toy"

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._lock = threading.RLock()
        self._specs: dict[str, CollectionSpec] = {}
        self._rows: dict[str, dict[str, Row]] = {}
        self._open = True
        if self._path and self._path.exists():
            self._load(json.loads(self._path.read_text("utf-8")))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            database="toy 1",
            embedded=True,
            persistent=self._path is not None,
            metrics=frozenset({Metric.COSINE, Metric.L2}),
            index_kinds=("flat",),
            max_dim=3000,
            max_text_bytes=MAX_TEXT_BYTES,
            lexical=False,
            write_batch=100,
        )

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        uri.check_options(frozenset())
        return cls(uri.path)

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        return URI(scheme="toy", path=str(Path(folder) / "toy.json"))

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._save()
            self._open = False

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        check_spec(spec, self.capabilities)
        with self._lock:
            known = self._specs.get(spec.name)
            if known and (not exist_ok or (known.dim, known.metric) != (spec.dim, spec.metric)):
                raise CollectionExistsError(f"{spec.name} exists with dim {known.dim} and metric {known.metric}")
            self._specs.setdefault(spec.name, spec)
            self._rows.setdefault(spec.name, {})

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        with self._lock:
            if not (missing_ok and name not in self._specs):
                self._collection(name)
                del self._specs[name], self._rows[name]

    def describe_collection(self, name: str) -> CollectionSpec:
        with self._lock:
            self._collection(name)
            return self._specs[name]

    def list_collections(self) -> list[str]:
        with self._lock:
            self._need_open()
            return sorted(self._specs)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        with self._lock:
            rows = self._collection(name)
            check_held(self._specs[name], passport)
            checked = check_batch(documents, vectors, self._specs[name].dim)
            for document in documents:
                if len(document.text.encode()) > MAX_TEXT_BYTES:
                    raise InvalidInputError(f"document {document.id!r}: its text is over {MAX_TEXT_BYTES} bytes")
            for document, vector in zip(documents, checked, strict=True):
                rows[document.id] = Row(json.dumps(asdict(document)), vector.tolist())

    def delete(self, name: str, ids: Sequence[str]) -> None:
        with self._lock:
            rows = self._collection(name)
            for id in ids:
                rows.pop(id, None)

    def refresh(self, name: str) -> None:
        with self._lock:
            self._collection(name)
            self._save()

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        with self._lock:
            rows = self._collection(name)
            return [rows[id].read() for id in ids if id in rows]

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        wanted = set(sources)
        return {document.id: document.digest for document, _ in self._all(name) if document.source in wanted}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        rows = self._all(name, filter)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            array = np.array([vector for _, vector in part], dtype=np.float32)
            yield Batch([document for document, _ in part], array if vectors else None)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        return len(self._all(name, filter))

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
        check_k(k, offset)
        spec = self.describe_collection(name)
        queries = check_vectors(vectors, spec.dim)
        rows = self._all(name, filter)
        stored = np.array([vector for _, vector in rows]).reshape(-1, spec.dim)
        found = []
        for query in queries.astype(float):
            scores = _scores(spec.metric, stored, query)
            hits = [Hit(document, float(score)) for (document, _), score in zip(rows, scores, strict=True)]
            hits.sort(key=lambda hit: (-hit.score, hit.id))
            found.append(hits[offset : offset + k])
        return found

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        raise UnsupportedError("toy has no keyword search; search with mode='dense'")

    def _all(self, name: str, filter: Filter | None = None) -> list[tuple[Document, list[float]]]:
        with self._lock:
            rows = [(row.read(), row.vector) for row in self._collection(name).values()]
        return [row for row in rows if filter is None or matches(filter, row[0].metadata)]

    def _collection(self, name: str) -> dict[str, Row]:
        self._need_open()
        if name not in self._rows:
            raise CollectionNotFoundError(f"toy holds no collection {name!r}")
        return self._rows[name]

    def _need_open(self) -> None:
        if not self._open:
            raise BackendConnectionError("this toy is closed")

    def _save(self) -> None:
        if self._path:
            specs = [asdict(spec) for spec in self._specs.values()]
            self._path.write_text(json.dumps({"specs": specs, "rows": self._rows}), "utf-8")

    def _load(self, saved: dict) -> None:
        for fields in saved["specs"]:
            passport = Passport(**fields["passport"]) if fields["passport"] else None
            index, metric = IndexSpec(**fields["index"]), Metric(fields["metric"])
            spec = replace(CollectionSpec(**fields), metric=metric, index=index, passport=passport)
            self._specs[spec.name] = spec
        self._rows = {name: {id: Row(*row) for id, row in rows.items()} for name, rows in saved["rows"].items()}


def _scores(metric: Metric, stored: np.ndarray, query: np.ndarray) -> np.ndarray:
    if metric is Metric.L2:
        return -np.linalg.norm(stored - query, axis=1)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(query)
    return np.sum(stored * query, axis=1) / np.where(lengths > 0, lengths, 1)
