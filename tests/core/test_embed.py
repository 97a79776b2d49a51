"""Vectors without a database: the model, its instruction, and fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

import qvec
from qvec.embedders.hashing import HashingEmbedder
from qvec.embedders.precision import calibrate, restore
from qvec.errors import ConfigError, EmbeddingError, InvalidInputError
from qvec.registry import load_embedder

TEXTS = ["read a csv file", "open a socket", "", "读取文件"]


def test_the_vectors_are_those_of_the_model() -> None:
    bundled = load_embedder("bundled", dim=64)
    np.testing.assert_array_equal(qvec.embed(TEXTS, model="bundled", dim=64), bundled.encode_document(TEXTS))
    queries = qvec.embed(TEXTS[:2], embedder=bundled, role="query")
    np.testing.assert_array_equal(queries, bundled.encode_query(TEXTS[:2]))
    assert qvec.embed([], embedder=bundled).shape == (0, 64)


def test_fewer_bytes_are_asked_for_by_name() -> None:
    model = HashingEmbedder(dim=60)
    exact = model.encode_document(TEXTS)
    calibration = calibrate(exact)
    half = qvec.embed(TEXTS, embedder=model, precision="float16")
    small = qvec.embed(TEXTS, embedder=model, precision="int8", calibration=calibration)
    signs = qvec.embed(TEXTS, embedder=model, precision="binary")
    assert [(rows.dtype.name, rows.shape) for rows in (half, small, signs)] == [
        ("float16", (4, 60)),
        ("int8", (4, 60)),
        ("int8", (4, 8)),
    ]
    np.testing.assert_allclose(restore(small.astype(np.int8), calibration), exact, atol=0.01)


def test_a_cache_keeps_the_exact_vectors_whatever_is_asked_for(tmp_path) -> None:
    model = HashingEmbedder(dim=60)
    qvec.embed(TEXTS, embedder=model, precision="binary", cache=str(tmp_path))
    np.testing.assert_array_equal(qvec.embed(TEXTS, embedder=model, cache=str(tmp_path)), model.encode_document(TEXTS))


@pytest.mark.parametrize(
    ("options", "fault", "why"),
    [
        ({"precision": "int8"}, InvalidInputError, "needs a calibration"),
        ({"precision": "int4"}, InvalidInputError, "unknown: take float32, float16, int8, binary"),
        ({"role": "answer"}, InvalidInputError, "takes document or query"),
        ({"instruction": "code_search"}, InvalidInputError, "role='query'"),
        ({"device": "cuda"}, ConfigError, "takes no device"),
        ({"model": "hashin"}, ConfigError, "did you mean hashing"),
    ],
)
def test_what_cannot_be_done_is_said(options, fault, why) -> None:
    with pytest.raises(fault, match=why):
        qvec.embed(TEXTS, **{"model": "hashing", **options})


@pytest.mark.parametrize("bad", ["bare", [7], ["a\0b"], ["\udc80"]])
def test_what_is_no_text_is_refused(bad) -> None:
    with pytest.raises(EmbeddingError):
        qvec.embed(bad, model="bundled")
