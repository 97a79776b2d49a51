"""Haystack's filters mean here what they mean in Haystack's own store, or are a typed error."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from qvec.errors import FilterError
from qvec.filters import matches

pytest.importorskip("haystack")

from haystack.dataclasses import Document
from haystack.errors import FilterError as HaystackFilterError
from haystack.utils.filters import document_matches_filter

from qvec.integrations.haystack import QvecFilterError, from_haystack
from qvec.integrations.haystack.documents import to_record

DOCUMENTS = [
    Document(
        id="a", content="a", meta={"lang": "py", "n": 5, "on": "2024-01-01", "deep": {"x": 1, "on": "2020-02-02"}}
    ),
    Document(id="b", content="b", meta={"lang": "go", "n": 9.5, "on": "2024-01-01T08:00:00+08:00", "flag": True}),
    Document(id="c", content="c", meta={"lang": None, "on": "2025-06-01T12:00:00Z"}),
    Document(id="d", content="d", meta={"n": -1, "on": "2024-01-01T00:00:00.000"}),
]
LEAVES = [
    ("meta.lang", "==", "py"),
    ("meta.lang", "!=", "py"),
    ("meta.lang", "==", None),
    ("meta.lang", "!=", None),
    ("meta.n", ">", 5),
    ("meta.n", ">=", 5),
    ("meta.n", "<", 5),
    ("meta.n", "<=", 9.5),
    ("meta.n", ">", None),
    ("meta.n", "in", [5, 9.5]),
    ("meta.n", "not in", [5, 9.5]),
    ("meta.lang", "in", ["py", None]),
    ("meta.lang", "not in", ["py", None]),
    ("meta.lang", "in", []),
    ("meta.deep.x", "==", 1),
    ("meta.deep.x", "!=", 1),
    ("meta.deep.on", "<", "2021-01-01"),
    ("meta.flag", "==", True),
    ("lang", "==", "go"),
    ("id", "==", "c"),
    ("id", "in", ["a", "d"]),
    ("meta.on", "==", "2024-01-01T00:00:00Z"),
    ("meta.on", "!=", "2024-01-01"),
    ("meta.on", ">", "2024-01-01T00:00:00Z"),
    ("meta.on", ">=", "2024-01-01"),
    ("meta.on", "<", datetime(2025, 1, 1, tzinfo=UTC)),
    ("meta.nothing", "!=", 3),
]


def leaf(field: str, operator: str, value: object) -> dict:
    return {"field": field, "operator": operator, "value": value}


def found_here(filters: dict) -> list[str]:
    asked = from_haystack(filters)
    assert asked is not None
    return [document.id for document in DOCUMENTS if matches(asked, to_record(document, 1).metadata)]


def found_there(filters: dict) -> list[str]:
    return [document.id for document in DOCUMENTS if document_matches_filter(filters, document)]


@pytest.mark.parametrize("first", LEAVES, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def test_each_operator_and_join_agrees_with_haystack(first):
    assert found_here(leaf(*first)) == found_there(leaf(*first))
    for join in ("AND", "OR", "NOT"):
        for second in LEAVES:
            inner = {"operator": "NOT", "conditions": [leaf(*second)]}
            filters = {"operator": join, "conditions": [leaf(*first), inner]}
            assert found_here(filters) == found_there(filters), (join, second)


def test_dates_that_other_tools_wrote_are_compared_as_they_stand():
    asked = from_haystack(leaf("meta.on", ">", date(2024, 1, 1)))
    assert asked is not None
    assert matches(asked, {"on": "2024-05-01"})
    assert not matches(asked, {"on": "2023-05-01"})


def test_no_filters_ask_for_nothing():
    assert from_haystack(None) is None
    assert from_haystack({}) is None


@pytest.mark.parametrize(
    "filters",
    [
        leaf("meta.n", "~", 1),
        leaf("meta.n", ">", "1"),
        leaf("meta.n", ">", "soon"),
        leaf("meta.n", ">", [1]),
        leaf("meta.n", ">", True),
        leaf("meta.n", "in", (1, 2)),
        leaf("meta.n", "==", {"a": 1}),
        leaf("content", "==", "a"),
        leaf("meta.", "==", "a"),
        leaf(3, "==", "a"),
        {"field": "meta.n", "operator": "=="},
        {"field": "meta.n", "value": 1},
        {"operator": "AND"},
        {"conditions": []},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": leaf("meta.n", "==", 1)},
        {"operator": "AND", "conditions": ["meta.n"]},
    ],
)
def test_what_has_no_meaning_is_refused_in_both_tongues(filters):
    with pytest.raises(QvecFilterError) as caught:
        from_haystack(filters)
    assert isinstance(caught.value, FilterError)
    assert isinstance(caught.value, HaystackFilterError)


def test_a_filter_without_end_is_refused():
    endless = leaf("meta.n", "==", 1)
    for _ in range(5000):
        endless = {"operator": "NOT", "conditions": [endless]}
    with pytest.raises(QvecFilterError, match="deep"):
        from_haystack(endless)
