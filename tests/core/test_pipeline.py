"""How the indexing pipeline hands windows to the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Event

import pytest

from qvec.database import Database
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import InvalidInputError
from qvec.memory import MemoryAdapter
from qvec.prepare import WINDOW
from qvec.types import Capabilities, Document, Passport, Vectors

WINDOWS = 4


class Ahead(HashingEmbedder):
    """Tells when it has embedded everything."""

    def __init__(self) -> None:
        super().__init__(dim=16)
        self.calls = 0
        self.is_done = Event()

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        if self.calls >= WINDOWS:
            self.is_done.set()
        return super().encode_document(texts)


class Slow(MemoryAdapter):
    """Is not through with its first write before everything is embedded."""

    def __init__(self, embedder: Ahead) -> None:
        super().__init__()
        self.embedder = embedder
        self.sizes: list[int] = []

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, write_batch=WINDOWS * WINDOW)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        self.sizes.append(len(documents))
        assert self.embedder.is_done.wait(60)
        if any(document.metadata.get("refused") for document in documents):
            raise InvalidInputError("refused")
        super().upsert(name, documents, vectors, passport=passport)


@pytest.fixture
def slow() -> Slow:
    return Slow(Ahead())


def test_a_slow_database_gets_the_windows_that_wait_in_fewer_calls(slow: Slow) -> None:
    with Database(slow) as database:
        report = database.collection("docs", embedder=slow.embedder).index(f"text {n}" for n in range(WINDOWS * WINDOW))
        assert (report.added, report.failed) == (WINDOWS * WINDOW, {})
        assert sum(slow.sizes) == WINDOWS * WINDOW
        assert len(slow.sizes) < WINDOWS


def test_a_refused_document_among_windows_written_together_is_the_only_one_left_out(slow: Slow) -> None:
    documents = [{"id": str(n), "text": f"text {n}", "refused": n == 700} for n in range(WINDOWS * WINDOW)]
    with Database(slow) as database:
        collection = database.collection("docs", embedder=slow.embedder)
        report = collection.index(documents)
        assert report.failed == {"700": "refused"}
        assert report.added == collection.count() == WINDOWS * WINDOW - 1
