"""Vectors in fewer bytes are sentence-transformers' own, number for number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvec.embedders.precision import PRECISIONS, calibrate, quantize, restore
from qvec.errors import InvalidInputError


@pytest.fixture(scope="module")
def reference():
    return pytest.importorskip("sentence_transformers.util").quantize_embeddings


def unit_rows(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(dim=st.integers(1, 70), seed=st.integers(0, 1000), rows=st.integers(0, 20))
def test_int8_and_binary_equal_sentence_transformers(reference, dim, seed, rows):
    known, vectors = unit_rows(50, dim, seed + 1), unit_rows(rows, dim, seed)
    calibration = calibrate(known)
    ranges = np.stack([calibration.low, calibration.high])
    np.testing.assert_array_equal(
        quantize(vectors, "int8", calibration=calibration), reference(vectors, "int8", ranges=ranges)
    )
    binary = quantize(vectors, "binary")
    assert binary.dtype == np.int8
    np.testing.assert_array_equal(binary, reference(vectors, "binary"))


def test_a_component_that_never_changes_is_taken(reference):
    vectors = np.array([[0.5, 0.1], [0.5, 0.9], [0.5, 0.3]], dtype=np.float32)
    codes = quantize(vectors, "int8", calibration=calibrate(vectors))
    np.testing.assert_array_equal(codes, reference(vectors, "int8", calibration_embeddings=vectors))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000))
def test_restored_vectors_are_half_a_step_off_at_most(seed):
    vectors = unit_rows(100, 32, seed)
    calibration = calibrate(vectors)
    found = restore(quantize(vectors, "int8", calibration=calibration), calibration)
    assert (np.abs(found - vectors) <= calibration.steps * 0.501).all()


def test_int8_keeps_the_order_of_neighbours():
    vectors, queries = unit_rows(300, 256), unit_rows(20, 256, seed=1)
    calibration = calibrate(vectors)
    near = restore(quantize(vectors, "int8", calibration=calibration), calibration)
    assert np.abs(queries @ near.T - queries @ vectors.T).max() < 0.01


def test_float16_halves_the_bytes_and_float32_changes_nothing():
    vectors = unit_rows(5, 64)
    assert quantize(vectors, "float16").dtype == np.float16
    np.testing.assert_allclose(quantize(vectors, "float16"), vectors, atol=1e-3)
    np.testing.assert_array_equal(quantize(vectors, "float32"), vectors)


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "int8"])
def test_no_vectors_give_no_rows(precision):
    assert len(quantize(np.zeros((0, 16), np.float32), precision)) == 0


@pytest.mark.parametrize(
    ("vectors", "precision", "why"),
    [
        (np.zeros((2, 4), np.float32), "int4", "unknown: take float32, float16, int8, binary"),
        (np.zeros((2, 4), np.float32), "int8", "needs a calibration"),
        (np.zeros((2, 4), np.int8), "binary", "matrix of floats"),
        (np.zeros(4, np.float32), "float16", "matrix of floats"),
        (np.full((1, 4), np.nan, np.float32), "binary", "NaN"),
        (np.full((1, 4), 1e6, np.float32), "float16", "65504"),
    ],
)
def test_what_cannot_be_written_is_refused(vectors, precision, why):
    with pytest.raises(InvalidInputError, match=why):
        quantize(vectors, precision)


def test_a_calibration_of_another_dim_is_refused():
    calibration = calibrate(unit_rows(5, 8))
    with pytest.raises(InvalidInputError, match="the calibration 8"):
        quantize(unit_rows(2, 9), "int8", calibration=calibration)
    with pytest.raises(InvalidInputError, match=r"not int8 \(n, 8\)"):
        restore(np.zeros((1, 9), np.int8), calibration)


def test_one_vector_calibrates_nothing():
    with pytest.raises(InvalidInputError, match="two vectors"):
        calibrate(unit_rows(1, 8))
