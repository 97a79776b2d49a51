"""recall, ndcg and mrr: worked by hand, and equal to ranx on the same runs."""

from __future__ import annotations

import math
import random

import pytest

from qvec.errors import InvalidInputError
from qvec.evaluation.metrics import measure, mrr, ndcg, recall

KS = (1, 3, 10, 100)
# What ranx 0.3.21 gives for `judged_run(seed=7)`.
RANX = {
    "recall@1": 0.013436008,
    "ndcg@1": 0.073333333,
    "mrr@1": 0.16,
    "recall@3": 0.041312798,
    "ndcg@3": 0.102340767,
    "mrr@3": 0.263333333,
    "recall@10": 0.141967616,
    "ndcg@10": 0.130191674,
    "mrr@10": 0.339388889,
    "recall@100": 0.359382701,
    "ndcg@100": 0.227244382,
    "mrr@100": 0.346102176,
}


def judged_run(seed: int):
    """Random judgements and a random run over them; some queries are not answered, some documents not judged."""
    dice = random.Random(seed)
    qrels = {
        f"q{query}": {f"d{document}": dice.choice((0, 0, 1, 2, 3)) for document in dice.sample(range(60), 20)}
        | {"d0": 1}
        for query in range(50)
    }
    run = {
        query: [f"d{document}" for document in dice.sample(range(60), dice.randrange(1, 40))]
        for query in qrels
        if dice.random() < 0.9
    }
    return qrels, run


def test_figures_are_those_worked_by_hand():
    grades = {"a": 3, "b": 1, "c": 0, "d": 2}
    ranked = ["c", "b", "x", "a"]
    assert (recall(ranked, grades, 3), recall(ranked, grades, 4)) == (1 / 3, 2 / 3)
    assert (mrr(ranked, grades, 1), mrr(ranked, grades, 4)) == (0.0, 0.5)
    gain = 1 / math.log2(3) + 3 / math.log2(5)
    assert ndcg(ranked, grades, 4) == pytest.approx(gain / (3 + 2 / math.log2(3) + 1 / 2))
    assert ndcg(["a", "d", "b"], grades, 10) == 1.0
    assert ndcg(ranked, grades, 1) == 0.0


def test_figures_are_those_that_ranx_gave():
    qrels, run = judged_run(7)
    assert measure(run, qrels, KS) == pytest.approx(RANX, abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unsafe cast")
@pytest.mark.parametrize("seed", [7, 8, 9])
def test_figures_are_those_of_ranx(seed):
    """Slow because ranx compiles its functions at their first call."""
    ranx = pytest.importorskip("ranx")
    qrels, run = judged_run(seed)
    scored = {query: {document: 1 / rank for rank, document in enumerate(run.get(query, ()), 1)} for query in qrels}
    scored = {query: found for query, found in scored.items() if found}
    expected = ranx.evaluate(
        ranx.Qrels(qrels),
        ranx.Run(scored),
        [f"{name}@{k}" for k in KS for name in ("recall", "ndcg", "mrr")],
        make_comparable=True,
    )
    assert measure(run, qrels, KS) == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6)


def test_a_query_that_is_not_answered_counts_nothing_and_one_without_a_relevant_document_is_left_out():
    qrels = {"answered": {"a": 1}, "not": {"a": 1}, "nothing relevant": {"a": 0}}
    assert measure({"answered": ["a"], "nothing relevant": ["a"]}, qrels, [1])["recall@1"] == 0.5


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInputError, match="numbers from 1"):
        measure({}, {"a": {"x": 1}}, [0])
    with pytest.raises(InvalidInputError, match="no query has a relevant document"):
        measure({}, {"a": {"x": 0}}, [1])
    with pytest.raises(InvalidInputError, match="twice for query 'a'"):
        measure({"a": ["x", "x"]}, {"a": {"x": 1}}, [1])
