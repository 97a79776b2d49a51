"""What a filter means: `matches`, rule by rule, and the filters that make no sense."""

from __future__ import annotations

import math
import operator
from datetime import UTC, date, datetime, timedelta, timezone
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.errors import FilterError
from qvec.filters import And, Compare, Exists, Field, Not, Op, Or, matches, normalise, split_path
from qvec.testing.cases import FILTER_CASES, FILTER_DOCUMENTS
from qvec.testing.filters import FILTERS
from qvec.where import to_filter

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TRUTHS = [
    ("==", "py", "py", True),
    ("==", "py", "Py", False),
    ("==", 1, 1.0, True),
    ("==", 1, True, False),
    ("==", True, 1, False),
    ("==", "1", 1, False),
    ("==", ["py"], "py", False),
    ("==", {"py": 1}, "py", False),
    ("==", 2**53 + 1, 2**53, False),
    ("==", 2**53 + 1, float(2**53), False),
    ("!=", "py", "Py", True),
    ("!=", "py", 1, True),
    ("!=", 1, True, True),
    ("!=", ["py"], "py", True),
    ("!=", "py", "py", False),
    ("!=", None, "py", False),
    ("<", "a", "b", True),
    ("<", "B", "a", True),
    ("<", "a", "", False),
    ("<", "é", "z", False),
    ("<", "\ufffd", "🚀", True),
    ("<", 1, 1.5, True),
    ("<", True, 2, False),
    ("<", "1", 2, False),
    ("<=", 2, 2, True),
    (">", 2, 2, False),
    (">=", [3], 2, False),
    (">=", "2024-03-01", "2024-02-29", True),
    ("in", "a", ["a", "b"], True),
    ("in", 1.0, ["a", 1], True),
    ("in", True, [1], False),
    ("in", ["a"], ["a"], False),
    ("in", "a", [], False),
    ("not in", "a", ["b"], True),
    ("not in", "a", ["a"], False),
    ("not in", "a", [], True),
    ("not in", ["a"], ["a"], True),
    ("not in", None, ["b"], False),
    ("contains", ["a", "b"], "a", True),
    ("contains", ["a", "b"], "c", False),
    ("contains", ["a"], "", False),
    ("contains", [1], True, False),
    ("contains", [1.0], 1, True),
    ("contains", [["a"]], "a", False),
    ("contains", "abc", "a", False),
    ("contains", {"a": 1}, "a", False),
    ("contains", [], "a", False),
    ("starts with", "python", "py", True),
    ("starts with", "python", "", True),
    ("starts with", "Python", "py", False),
    ("starts with", "axb", "a_", False),
    ("starts with", 10, "1", False),
    ("starts with", ["py"], "py", False),
]


@pytest.mark.parametrize(("op", "found", "value", "expected"), TRUTHS)
def test_a_comparison_means(op: str, found, value, expected: bool):
    filter = Compare("key", Op(op), value)
    assert matches(filter, {"key": found}) is expected
    assert matches(Not(filter), {"key": found}) is not expected
    assert matches(Compare("a.key", Op(op), value), {"a": {"key": found}}) is expected


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("metadata", [{}, {"key": None}, {"other": 1}, {"key ": "x"}])
def test_every_comparison_with_a_missing_field_is_false_and_its_negation_true(op: Op, metadata):
    value = ["x"] if op in {Op.IN, Op.NOT_IN} else "x"
    assert not matches(Compare("key", op, value), metadata)
    assert matches(Not(Compare("key", op, value)), metadata)


@pytest.mark.parametrize(
    ("field", "metadata", "expected"),
    [
        ("a", {"a": 0}, True),
        ("a", {"a": False}, True),
        ("a", {"a": ""}, True),
        ("a", {"a": []}, True),
        ("a", {"a": None}, False),
        ("a", {}, False),
        ("a.b", {"a": {"b": 1}}, True),
        ("a.b", {"a": {"b": None}}, False),
        ("a.b", {"a": 1}, False),
        ("a.b", {"a": ["b"]}, False),
        ("a.b", {"a.b": 1}, False),
        ("a\\.b", {"a.b": 1}, True),
        ("a\\.b.c", {"a.b": {"c": 1}}, True),
        ("a\\b", {"a\\b": 1}, True),
    ],
)
def test_a_field_exists_where_it_is_not_null(field: str, metadata, expected: bool):
    assert matches(Exists(field), metadata) is expected


def test_joins_without_conditions():
    assert matches(And(()), {})
    assert not matches(Or(()), {})


def test_fields_are_combined_with_operators():
    filter = ((Field("stars") >= 10) & ~(Field("lang") == "py") | Field("tags").contains("x")).filter
    assert filter == Or(
        (
            And((Compare("stars", Op.GE, 10), Not(Compare("lang", Op.EQ, "py")))),
            Compare("tags", Op.CONTAINS, "x"),
        )
    )


def test_a_chain_of_conditions_stays_flat():
    conditions = [Field("n") == i for i in range(300)]
    assert reduce(operator.or_, conditions).filter == Or(tuple(each.filter for each in conditions))
    assert to_filter(reduce(operator.and_, conditions)) == And(tuple(each.filter for each in conditions))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Field("a") != 1, Compare("a", Op.NE, 1)),
        (Field("a") < 1, Compare("a", Op.LT, 1)),
        (Field("a") <= 1, Compare("a", Op.LE, 1)),
        (Field("a") > 1, Compare("a", Op.GT, 1)),
        (Field("a") >= 1, Compare("a", Op.GE, 1)),
        (Field("a").is_in([1, 2]), Compare("a", Op.IN, (1, 2))),
        (Field("a").not_in((1,)), Compare("a", Op.NOT_IN, (1,))),
        (Field("a").starts_with("x"), Compare("a", Op.STARTS_WITH, "x")),
        (Field("a").exists(), Exists("a")),
        (Field("a").contains_any(["x", "y"]), Or((Compare("a", Op.CONTAINS, "x"), Compare("a", Op.CONTAINS, "y")))),
        (Field("a").contains_all(["x"]), And((Compare("a", Op.CONTAINS, "x"),))),
    ],
)
def test_a_method_of_a_field_makes(condition, expected):
    assert condition.filter == expected


def test_and_or_not_and_chains_of_python_are_refused():
    with pytest.raises(FilterError, match="&"):
        bool(Field("a") == 1)
    with pytest.raises(FilterError, match="&"):
        assert 1 < Field("a") < 3


@pytest.mark.parametrize(
    ("field", "op", "value", "said"),
    [
        ("a", "~", 1, "unknown operator '~'; known: ==, !="),
        ("a", "==", None, "exists"),
        ("a", "==", [1], "takes a string, number"),
        ("a", "==", {"x": 1}, "takes a string, number"),
        ("a", "==", b"x", "takes a string, number"),
        ("a", "==", math.nan, "finite"),
        ("a", "<", math.inf, "finite"),
        ("a", "==", 2**63, "64 bits"),
        ("a", "==", "x\0", "NUL"),
        ("a", "==", "\ud800", "surrogate"),
        ("a", "in", ["x", "\udfff"], "surrogate"),
        ("a", "in", "abc", "takes a list"),
        ("a", "in", 1, "takes a list"),
        ("a", "in", b"abc", "takes a list"),
        ("a", "in", [None], "null"),
        ("a", "not in", [[1]], "takes a string, number"),
        ("a", "<", True, "no order"),
        ("a", "starts with", 1, "takes a string"),
        ("a", "contains", ["x"], "takes a string, number"),
        ("", "==", 1, "name"),
        (None, "==", 1, "name"),
        ("a\0b", "==", 1, "NUL"),
        ("a\ud800", "==", 1, "surrogate"),
        (".a", "==", 1, "empty part"),
        ("a..b", "==", 1, "empty part"),
        ("a.", "==", 1, "empty part"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(field, op, value, said: str):
    with pytest.raises(FilterError, match=said):
        Compare(field, op, value)


@pytest.mark.parametrize("field", ["", "a\0", ".", None])
def test_exists_needs_a_fields_name(field):
    with pytest.raises(FilterError):
        Exists(field)


def test_a_path_is_split_at_its_dots():
    assert split_path("a.b.c") == ("a", "b", "c")
    assert split_path("a\\.b.c\\.d") == ("a.b", "c.d")
    assert split_path("a\\b. c") == ("a\\b", " c")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00"),
        (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), "2024-02-29T12:30:00Z"),
        (datetime(2024, 2, 29, 1, 30, tzinfo=timezone(timedelta(hours=8))), "2024-02-28T17:30:00Z"),
        ("x", "x"),
        (1, 1),
    ],
)
def test_dates_are_written_as_iso_8601(value, written):
    assert normalise(value) == written
    assert Compare("day", Op.EQ, value).value == written


@given(st.dates(), st.dates())
def test_dates_are_ordered_as_dates(one: date, other: date):
    assert matches(Compare("day", Op.LT, other), {"day": normalise(one)}) is (one < other)


@given(NUMBERS, NUMBERS)
def test_numbers_are_ordered_exactly(one, other):
    truths = [matches(Compare("n", op, other), {"n": one}) for op in (Op.LT, Op.EQ, Op.GT)]
    assert truths == [one < other, one == other, one > other]
    assert sum(truths) == 1


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.data())
def test_a_string_starts_with_each_of_its_prefixes(text: str, data):
    prefix = text[: data.draw(st.integers(0, len(text)))]
    assert matches(Compare("s", Op.STARTS_WITH, prefix), {"s": text})
    assert matches(Compare("s", Op.GE, prefix), {"s": text})


@given(FILTERS, FILTERS)
def test_de_morgan(one, other):
    for document in FILTER_DOCUMENTS:
        metadata = document.metadata
        assert matches(Not(And((one, other))), metadata) == matches(Or((Not(one), Not(other))), metadata)


def test_the_shared_table_discriminates():
    """A case that selects nothing or everything proves little: few may, because they are about just that."""
    counts = {case: sum(matches(filter, d.metadata) for d in FILTER_DOCUMENTS) for case, filter in FILTER_CASES.items()}
    assert sum(count in {0, len(FILTER_DOCUMENTS)} for count in counts.values()) < len(counts) / 5
    assert {filter.op for filter in FILTER_CASES.values() if isinstance(filter, Compare)} == set(Op)
