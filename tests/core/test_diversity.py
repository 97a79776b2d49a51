"""Maximal marginal relevance against LangChain's own, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from qvec.diversity import marginal_relevance
from qvec.errors import InvalidInputError


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5, 1.0])
def test_it_chooses_what_langchain_chooses(balance):
    utils = pytest.importorskip("langchain_core.vectorstores.utils")
    rng = np.random.default_rng(3)
    query, rows = rng.normal(size=8).astype(np.float32), rng.normal(size=(30, 8)).astype(np.float32)
    expected = utils.maximal_marginal_relevance(query, list(rows), lambda_mult=balance, k=10)
    assert marginal_relevance(query, rows, k=10, balance=balance) == expected


def test_fewer_candidates_than_wanted_all_come():
    assert marginal_relevance(np.ones(2, np.float32), np.eye(2, dtype=np.float32), k=5, balance=0.5) == [0, 1]
    assert marginal_relevance(np.ones(2, np.float32), np.empty((0, 2), np.float32), k=5, balance=0.5) == []


def test_rows_of_zeros_do_no_harm():
    rows = np.array([[0, 0], [1, 0]], np.float32)
    assert marginal_relevance(np.array([1, 0], np.float32), rows, k=2, balance=0.5) == [1, 0]


def test_a_balance_outside_is_refused():
    with pytest.raises(InvalidInputError, match="balance"):
        marginal_relevance(np.ones(2, np.float32), np.eye(2, dtype=np.float32), k=1, balance=1.5)
