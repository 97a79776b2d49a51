"""Documents over the model's window: chunked, truncated, pooled or refused, and each time said which."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.collection import Collection
from qvec.database import Database
from qvec.embedders.bundled import BundledEmbedder
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import InvalidInputError, PassportMismatchError
from qvec.long_text import LONG_TEXTS, LongDocument, cut_to_tokens, pool
from qvec.memory import MemoryAdapter
from qvec.specs import spec_from_form, spec_to_json

WINDOW = 30
LONG = "\n".join(f"line {number} of a long text" for number in range(40))
WHOLE = HashingEmbedder(dim=64)


class _Recording(HashingEmbedder):
    """Remembers what it was given to embed."""

    def __init__(self) -> None:
        super().__init__(dim=64, max_tokens=WINDOW)
        self.seen: list[str] = []

    def encode_document(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        return super().encode_document(texts)


@pytest.fixture
def model() -> _Recording:
    return _Recording()


@pytest.fixture
def memory(model: _Recording) -> Iterator[Collection]:
    with Database(MemoryAdapter()) as opened:
        yield opened.collection("long", embedder=model)


def test_chunked_documents_are_parts_that_lose_no_character(database: Database) -> None:
    collection = database.collection("long", embedder=HashingEmbedder(dim=64, max_tokens=WINDOW))
    report = collection.index([{"id": "a", "text": LONG}])
    parts = collection.get("a")
    assert (report.added, report.chunked) == (1, 1)
    assert report.long == {"a": LongDocument("chunk", 240, WINDOW, len(parts), 240)}
    assert [part.id for part in parts] == [f"a#part{number}" for number in range(1, len(parts) + 1)]
    assert "".join(part.text for part in parts) == LONG
    assert collection.index([{"id": "a", "text": LONG}]).unchanged == 1
    report = collection.index([{"id": "a", "text": "short now"}])
    assert (report.updated, report.deleted, report.long) == (1, len(parts), {})
    assert [document.id for document in collection.get("a")] == ["a"]


def test_every_database_keeps_the_policy_and_refuses_another(database: Database) -> None:
    database.collection("long", embedder=HashingEmbedder(dim=64, max_tokens=WINDOW)).create(long_text="pool")
    again = database.collection("long", embedder=HashingEmbedder(dim=64, max_tokens=WINDOW))
    passport = again.describe().passport
    assert passport is not None
    assert passport.long_text == "pool"
    assert again.index([{"id": "a", "text": LONG}]).long["a"].policy == "pool"
    for call in (lambda: again.index(["x"], long_text="truncate"), lambda: again.create(long_text="chunk")):
        with pytest.raises(PassportMismatchError, match=r"keeps long_text='pool'.*Leave long_text out"):
            call()


def test_a_truncated_document_is_stored_whole_and_embedded_to_the_last_token_that_fits(
    memory: Collection, model: _Recording
) -> None:
    report = memory.index([{"id": "a", "text": LONG}, {"id": "b", "text": "short"}], long_text="truncate")
    assert report.long == {"a": LongDocument("truncate", 240, WINDOW, 1, WINDOW)}
    assert [document.text for document in memory.get(["a", "b"])] == [LONG, "short"]
    assert LONG.startswith(model.seen[0])
    assert model.count_tokens(model.seen) == [WINDOW, 1]


def test_a_pooled_document_gets_the_mean_of_its_pieces_by_their_tokens(memory: Collection, model: _Recording) -> None:
    report = memory.index([{"id": "b", "text": "short"}, {"id": "a", "text": LONG}], long_text="pool")
    pieces = model.seen[1:]
    assert report.long == {"a": LongDocument("pool", 240, WINDOW, len(pieces), 240)}
    assert (report.embedded, report.chunked) == (1 + len(pieces), 0)
    assert "".join(pieces) == LONG
    weighted = model.encode_document(pieces) * np.array(model.count_tokens(pieces))[:, None]
    expected = weighted.sum(axis=0) / np.linalg.norm(weighted.sum(axis=0))
    [batch] = list(memory.adapter.scan("long", vectors=True))
    assert batch.vectors is not None
    rows = dict(zip([document.id for document in batch.documents], batch.vectors, strict=True))
    np.testing.assert_allclose(rows["a"], expected, atol=1e-6)
    np.testing.assert_allclose(rows["b"], WHOLE.encode_document(["short"])[0], atol=1e-6)


def test_a_refused_document_is_named_with_the_window_and_what_to_do(memory: Collection) -> None:
    report = memory.index([{"id": "a", "text": LONG}, "short"], long_text="error")
    assert (report.added, report.long) == (1, {})
    assert f"window of {WINDOW} tokens" in report.failed["a"]
    assert "long_text='chunk'" in report.failed["a"]


@pytest.mark.parametrize("policy", LONG_TEXTS)
def test_a_second_run_does_nothing_under_any_policy(memory: Collection, policy: str) -> None:
    memory.index(["short", {"id": "a", "text": LONG}], long_text=policy)
    report = memory.index(["short", {"id": "a", "text": LONG}])
    assert (report.embedded, report.added, report.updated, report.deleted) == (0, 0, 0, 0)


def test_a_collection_without_a_statement_keeps_to_chunk(memory: Collection) -> None:
    memory.create()
    with pytest.raises(PassportMismatchError, match="keeps long_text='chunk'"):
        memory.index(["x"], long_text="pool")


def test_a_passport_written_before_there_were_policies_is_read_as_chunk(memory: Collection) -> None:
    memory.create()
    form = json.loads(spec_to_json(memory.describe()))
    del form["passport"]["long_text"]
    memory.adapter.drop_collection("long")
    memory.adapter.create_collection(spec_from_form(form))
    assert memory.index([{"id": "a", "text": LONG}]).chunked == 1
    with pytest.raises(PassportMismatchError, match="'chunk'"):
        memory.index(["x"], long_text="truncate")


def test_an_unknown_policy_is_refused_before_anything_is_made(memory: Collection) -> None:
    with pytest.raises(InvalidInputError, match=r"long_text='cut'.*chunk, truncate, pool, error"):
        memory.index(["x"], long_text="cut")
    assert memory.adapter.list_collections() == []


@pytest.mark.parametrize("policy", ["truncate", "pool"])
def test_a_text_over_the_limit_of_the_database_is_never_cut_where_it_is_stored(policy: str) -> None:
    class Narrow(MemoryAdapter):
        @property
        def capabilities(self):
            return replace_limit(super().capabilities)

    with Database(Narrow()) as database:
        collection = database.collection("narrow", embedder=HashingEmbedder(dim=64, max_tokens=WINDOW))
        report = collection.index([{"id": "a", "text": LONG}], long_text=policy)
    assert "only long_text='chunk' stores it" in report.failed["a"]


def replace_limit(capabilities):
    from dataclasses import replace

    return replace(capabilities, max_text_bytes=200)


@pytest.mark.parametrize(("policy", "size"), [("truncate", 10_000_000), ("chunk", 300_000), ("pool", 300_000)])
def test_huge_texts_are_taken_under_every_policy_that_takes_long_ones(policy: str, size: int) -> None:
    with Database(MemoryAdapter()) as database:
        collection = database.collection("huge", embedder=BundledEmbedder(dim=32))
        report = collection.index([{"id": "a", "text": "words to read " * (size // 14)}], long_text=policy)
    found = report.long["a"]
    assert found.tokens > size // 5
    assert (found.kept == found.tokens) == (policy != "truncate")
    assert found.kept == found.limit or found.pieces <= 2 * found.tokens / found.limit + 1


@given(st.text(alphabet="ab c\n读é", min_size=1, max_size=400), st.integers(0, 40))
def test_a_cut_holds_as_many_tokens_as_fit(text: str, limit: int) -> None:
    def count(piece: str) -> int:
        return math.ceil(len(piece.encode()) / 3)

    if count(text) <= limit:
        return
    cut = cut_to_tokens(text, count, limit)
    assert text.startswith(cut)
    assert count(cut) <= limit < count(text[: len(cut) + 1])


def test_vectors_that_cancel_out_have_no_mean() -> None:
    rows = np.array([[1, 0], [-1, 0]], np.float32)
    with pytest.raises(Exception, match="cancel out"):
        pool(rows, [3, 3])
    np.testing.assert_allclose(pool(rows, [3, 1]), [1, 0])
