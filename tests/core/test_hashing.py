"""The stand-in model of the tests."""

from __future__ import annotations

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import ConfigError, EmbeddingError, TextTooLongError
from qvec.registry import load_embedder


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder(dim=128)


def test_rows_are_contiguous_float32_of_unit_length_in_the_order_of_the_texts(embedder):
    texts = ["read a CSV file", "", "读取文件", "parse_args"]
    rows = embedder.encode_document(texts)
    assert rows.shape == (4, 128)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(rows[2], embedder.encode_document(["读取文件"])[0])


def test_vectors_are_the_same_on_every_machine():
    assert np.flatnonzero(HashingEmbedder(dim=64).encode_document(["csv file"])[0]).tolist() == [39, 58]


def test_texts_that_share_keywords_are_closer(embedder):
    query, near, far = embedder.encode_document(["readCsvFile", "read the csv file", "parse arguments"])
    assert query @ near > query @ far


def test_an_empty_text_has_a_fixed_row(embedder):
    np.testing.assert_array_equal(*embedder.encode_document(["", " \n…"]))


def test_no_texts_give_no_rows(embedder):
    assert embedder.encode_query([]).shape == (0, 128)


def test_words_that_cancel_out_still_give_a_unit_row():
    rows = HashingEmbedder(dim=1).encode_document([f"w{a} w{b}" for a in range(8) for b in range(8)])
    np.testing.assert_array_equal(np.abs(rows), 1)


def test_the_registry_makes_it_with_and_without_a_dim():
    assert load_embedder("hashing").dim == 256
    assert load_embedder("hashing", dim=48).dim == 48
    assert isinstance(load_embedder("hashing"), Embedder)


def test_a_text_over_the_window_is_refused_by_position():
    with pytest.raises(TextTooLongError) as caught:
        HashingEmbedder(max_tokens=2).encode_document(["a b", "a b c", ""])
    assert caught.value.lengths == {1: 3}


@pytest.mark.parametrize("texts", [["a", None], ["a", b"b"], ["a", "b\0"], ["a", "\ud800"]])
def test_what_is_no_text_is_refused_by_position(embedder, texts):
    with pytest.raises(EmbeddingError, match="text 1"):
        embedder.encode_document(texts)


def test_a_bare_string_is_refused(embedder):
    with pytest.raises(EmbeddingError, match="list"):
        embedder.encode_query("read a file")


@pytest.mark.parametrize("dim", [0, -3])
def test_a_dim_below_one_is_refused(dim):
    with pytest.raises(ConfigError, match="dim"):
        HashingEmbedder(dim=dim)
