"""The checks at the edge."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from qvec.checks import (
    check_analyzer,
    check_batch,
    check_existing,
    check_k,
    check_name,
    check_spec,
    check_vectors,
    document_fault,
    string_fault,
)
from qvec.errors import CollectionExistsError, InvalidInputError, UnsupportedError
from qvec.types import Capabilities, CollectionSpec, Document, IndexSpec, Metric

LIMITED = Capabilities(
    database="Tiny 1.0",
    embedded=True,
    persistent=True,
    metrics=frozenset({Metric.COSINE}),
    index_kinds=("flat",),
    max_dim=64,
)


@pytest.mark.parametrize("name", ["a", "_", "A1_b", "x" * 48, "select"])
def test_a_plain_name_is_taken(name: str):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "a.b", "é", "a\n", "\na", "x" * 49, "a;", None, 3])
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidInputError, match="cannot name a collection"):
        check_name(name)


def test_a_collection_within_the_limits_can_be_made():
    check_spec(CollectionSpec("a", 64), LIMITED)
    check_spec(CollectionSpec("a", 64, index=IndexSpec("flat")), LIMITED)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (CollectionSpec("a", 65), "Tiny 1.0 indexes vectors to 64 dims, not 65"),
        (CollectionSpec("a", 8, Metric.L2), "takes the metrics cosine, not l2"),
        (CollectionSpec("a", 8, index=IndexSpec("hnsw")), "builds the indexes flat, not hnsw"),
        (CollectionSpec("a", 8, analyzer="english"), "has qvec's own keyword tokens and no analyzer 'english'"),
    ],
)
def test_a_collection_beyond_the_limits_is_refused_with_the_limit(spec: CollectionSpec, said: str):
    with pytest.raises(UnsupportedError, match=said):
        check_spec(spec, LIMITED)


def test_an_unknown_analyzer_is_refused_with_the_nearest():
    check_analyzer("english", ["english", "german"], "Tiny 1.0")
    with pytest.raises(InvalidInputError, match="no analyzer 'englsh': did you mean english"):
        check_analyzer("englsh", ["english", "german"], "Tiny 1.0")


@pytest.mark.parametrize("known", ["german", None])
def test_a_collection_with_another_analyzer_will_not_do(known: str | None):
    with pytest.raises(CollectionExistsError, match=r"(german|qvec's own).*asked for the analyzer 'english'"):
        check_existing(
            CollectionSpec("a", 8, analyzer=known), CollectionSpec("a", 8, analyzer="english"), exist_ok=True
        )


@pytest.mark.parametrize("spec", [CollectionSpec("a", 0), CollectionSpec("a b", 8)])
def test_a_collection_that_makes_no_sense_is_refused(spec: CollectionSpec):
    with pytest.raises(InvalidInputError):
        check_spec(spec, LIMITED)


def test_vectors_become_contiguous_float32():
    given = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))
    checked = check_vectors(given, 3)
    assert checked.dtype == np.float32
    assert checked.flags.c_contiguous
    assert checked.tolist() == given.tolist()


def test_vectors_that_fit_are_not_copied():
    given = np.ones((2, 3), dtype=np.float32)
    assert check_vectors(given, 3) is given


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 4), (1, 2, 3), (0,)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(InvalidInputError, match="shape"):
        check_vectors(np.ones(shape, dtype=np.float32), 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_vector_that_is_not_finite_is_named(value: float):
    vectors = np.ones((4, 3), dtype=np.float32)
    vectors[2, 1] = value
    with pytest.raises(InvalidInputError, match="vector 2"):
        check_vectors(vectors, 3)


def test_a_number_beyond_float32_is_refused():
    with pytest.raises(InvalidInputError, match="vector 0"):
        check_vectors(np.full((1, 3), 1e300), 3)


@pytest.mark.parametrize("vectors", [[["a", "b"]], [[1.0, 2.0], [1.0]], None])
def test_what_is_no_array_of_numbers_is_refused(vectors):
    with pytest.raises(InvalidInputError):
        check_vectors(vectors, 2)


def test_as_many_vectors_as_documents():
    with pytest.raises(InvalidInputError, match="1 documents came with 2 vectors"):
        check_batch([Document("a", "")], np.ones((2, 3), dtype=np.float32), 3)


def test_an_id_may_occur_once_in_a_call():
    with pytest.raises(InvalidInputError, match="'a' occurs twice"):
        check_batch([Document("a", "x"), Document("a", "y")], np.ones((2, 3), dtype=np.float32), 3)


@pytest.mark.parametrize(("k", "offset"), [(1, 0), (1000, 5)])
def test_a_window_is_taken(k: int, offset: int):
    check_k(k, offset)


@pytest.mark.parametrize(("k", "offset"), [(0, 0), (-3, 0), (1, -1)])
def test_an_empty_window_is_refused(k: int, offset: int):
    with pytest.raises(InvalidInputError, match="k starts at 1"):
        check_k(k, offset)


@pytest.mark.parametrize(
    "document",
    [
        Document("a", ""),
        Document("x" * 512, "text"),
        Document("a", "any \x01 text 🚀", {"k": [1, 2.5, True, None, "x", {"y": []}]}, "source", "digest"),
        Document("a", "text", {"min": -(2**63), "max": 2**63 - 1}),
        Document("a", "text", {"tuple": ("a", 1)}),
    ],
)
def test_a_document_that_every_database_can_hold_has_no_fault(document: Document):
    assert document_fault(document) == ""


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (Document("", "x"), "id is not a string"),
        (Document(7, "x"), "id is not a string"),
        (Document("a\0", "x"), "id holds NUL"),
        (Document("\ud800", "x"), "id holds a lone surrogate"),
        (Document("读" * 171, "x"), "id has more than 512 bytes"),
        (Document("a", "x", {}, "s" * 513), "source has more than 512 bytes"),
        (Document("a", "x", {}, "s\0"), "source holds NUL"),
        (Document("a", "x", {}, 7), "source is int"),
        (Document("a", "x", {}, "", "d\0"), "digest holds NUL"),
        (Document("a", "x", {}, "", None), "digest is NoneType"),
        (Document("a", None), "text is NoneType"),
        (Document("a", b"x"), "text is bytes"),
        (Document("a", "x\0"), "text holds NUL"),
        (Document("a", "xy\udc00"), "text holds a lone surrogate at character 2"),
        (Document("a", "x", {"k": "\0"}), r"metadata\['k'\] holds NUL"),
        (Document("a", "x", {"k": {"deep": [1, "\udc00"]}}), "lone surrogate"),
        (Document("a", "x", {"k": math.nan}), "holds nan"),
        (Document("a", "x", {"k": [math.inf]}), "holds inf"),
        (Document("a", "x", {"k": 2**63}), "beyond 64 bits"),
        (Document("a", "x", {"": 1}), "keys are strings"),
        (Document("a", "x", {1: 1}), "keys are strings"),
        (Document("a", "x", {"k\0": 1}), "key of metadata holds NUL"),
        (Document("a", "x", {"k": b"bytes"}), "holds bytes"),
        (Document("a", "x", {"k": date(2024, 1, 1)}), "holds date"),
        (Document("a", "x", {"k": {1, 2}}), "holds set"),
        (Document("a", "x", {"k": np.float32(1)}), "holds float32"),
        (Document("a", "x", [("k", 1)]), "metadata is list"),
        (Document("a", "x", None), "metadata is NoneType"),
    ],
)
def test_the_fault_of_a_document_is_said(document: Document, said: str):
    with pytest.raises(InvalidInputError, match=said):
        check_batch([document], np.ones((1, 3), dtype=np.float32), 3)


def test_metadata_nested_beyond_reason_is_refused():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert "nested" in document_fault(Document("a", "x", {"k": deep}))


@pytest.mark.parametrize("text", ["", "plain", "读取 🚀 קרא", "\x01\x7f\ufffe\uffff"])
def test_a_string_that_utf8_can_hold_has_no_fault(text: str):
    assert string_fault(text) == ""
