"""Coercion, digests and splitting of documents."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.documents import content_digest, split_document, to_document, whole_id
from qvec.errors import InvalidInputError
from qvec.types import Document


def test_a_string_takes_a_hash_of_its_content_as_id() -> None:
    assert to_document("hello") == to_document("hello")
    assert to_document("hello").id != to_document("hello ").id


def test_a_dicts_other_keys_become_metadata() -> None:
    document = to_document({"id": 7, "text": "hello", "lang": "en", "metadata": {"stars": 3}})
    assert (document.id, document.text, document.source) == ("7", "hello", "7")
    assert document.metadata == {"lang": "en", "stars": 3}


def test_dates_become_iso_strings() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    metadata = to_document({"text": "x", "day": date(2026, 1, 2), "when": when, "tags": {"b", "a"}}).metadata
    assert metadata == {"day": "2026-01-02", "when": "2026-01-02T03:04:05Z", "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (7, "not int"),
        ({"id": "a"}, "under the key 'text'"),
        ("", "empty"),
        (" \n\t", "white space"),
        ("a\0b", "NUL"),
        ("a\ud800", "surrogate"),
        ({"text": "x", "id": True}, "bool"),
        ({"text": "x", "id": ""}, "its id"),
        ({"text": "x", "id": "i" * 513}, "512 bytes"),
        ({"text": "x", "n": float("nan")}, "nan"),
        ({"text": "x", "n": 2**70}, "64 bits"),
        ({"text": "x", "n": object()}, "object"),
        ({"text": "x", "n": b"bytes"}, "bytes"),
        ({"text": "x", "metadata": [1]}, "list"),
        ({"text": "x", "metadata": {"a": {"": 1}}}, "keys are strings"),
        ({"text": "x", "source": 3}, "source"),
    ],
)
def test_what_no_database_can_hold_is_refused_with_the_reason(item: object, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        to_document(item)


def test_the_digest_changes_with_text_metadata_and_source() -> None:
    base = Document("a", "text", {"x": 1, "y": 2})
    assert content_digest(base) == content_digest(Document("a", "text", {"y": 2, "x": 1}))
    others = [
        Document("a", "text!", {"x": 1, "y": 2}),
        Document("a", "text", {"x": 1}),
        Document("a", "text", {"x": "1", "y": 2}),
    ]
    assert len({content_digest(document) for document in [base, *others]}) == 4


@given(st.text(min_size=1), st.integers(1, 40))
def test_splitting_loses_no_character_that_is_not_white_space(text: str, limit: int) -> None:
    parts = split_document(Document("d", text, {"lang": "x"}), lambda part: len(part.text) <= limit)
    assert all(len(part.text) <= limit for part in parts) or len(parts) == 1
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())


def test_parts_keep_metadata_and_name_their_document() -> None:
    parts = split_document(Document("d", "one two\n\nthree four", {"lang": "x"}), lambda part: len(part.text) <= 10)
    assert [part.text.strip() for part in parts] == ["one two", "three four"]
    assert [part.id for part in parts] == ["d#part1", "d#part2"]
    assert {part.source for part in parts} == {"d"}
    assert all(part.metadata == {"lang": "x"} for part in parts)
    assert whole_id("d#part12") == whole_id("d") == "d"


def test_a_title_that_alone_is_too_long_is_an_error() -> None:
    long_title = Document("d", "some text", {"title": "t" * 100})
    with pytest.raises(InvalidInputError, match="title"):
        split_document(long_title, lambda part: len(part.searchable_text) <= 50)
