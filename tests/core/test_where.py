"""Reading filters: the dict form, the short form, the string form."""

from __future__ import annotations

import contextlib
import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.errors import FilterError
from qvec.filters import And, Compare, Exists, Field, Filter, Not, Op, Or
from qvec.testing.cases import FILTER_CASES
from qvec.testing.filters import FILTERS
from qvec.where import from_dict, parse, to_dict, to_filter

A = Compare("a", Op.EQ, 1)
B = Compare("b", Op.EQ, 2)
C = Compare("c", Op.EQ, 3)
STRINGS: dict[str, Filter] = {
    "a = 1": A,
    "a == 1": A,
    "a=1": A,
    "  a  =  1  ": A,
    "(a = 1)": A,
    "((a = 1))": A,
    "a != 1": Compare("a", Op.NE, 1),
    "a <> 1": Compare("a", Op.NE, 1),
    "a<1": Compare("a", Op.LT, 1),
    "a <= -1": Compare("a", Op.LE, -1),
    "a>1.5": Compare("a", Op.GT, 1.5),
    "a >= 1e3": Compare("a", Op.GE, 1000.0),
    "a = 'x'": Compare("a", Op.EQ, "x"),
    'a = "x"': Compare("a", Op.EQ, "x"),
    "a = 'O''Brien'": Compare("a", Op.EQ, "O'Brien"),
    'a = "say ""hi"""': Compare("a", Op.EQ, 'say "hi"'),
    "a = ''": Compare("a", Op.EQ, ""),
    "a = 'and or not ( ]'": Compare("a", Op.EQ, "and or not ( ]"),
    "a = '读取\n\t\\n'": Compare("a", Op.EQ, "读取\n\t\\n"),
    "a = true": Compare("a", Op.EQ, True),
    "a = FALSE": Compare("a", Op.EQ, False),
    "语言 = '中文'": Compare("语言", Op.EQ, "中文"),
    "a.b.c = 1": Compare("a.b.c", Op.EQ, 1),
    "a\\.b = 1": Compare("a\\.b", Op.EQ, 1),
    "content-type = 'x'": Compare("content-type", Op.EQ, "x"),
    "`a b'c` = 1": Compare("a b'c", Op.EQ, 1),
    "`and` = 1": Compare("and", Op.EQ, 1),
    "`not` = 1": Compare("not", Op.EQ, 1),
    "notable = 1": Compare("notable", Op.EQ, 1),
    "android = 1 and order = 2": And((Compare("android", Op.EQ, 1), Compare("order", Op.EQ, 2))),
    "a in [1, 'x', true]": Compare("a", Op.IN, (1, "x", True)),
    "a in (1)": Compare("a", Op.IN, (1,)),
    "a in []": Compare("a", Op.IN, ()),
    "a not in [1]": Compare("a", Op.NOT_IN, (1,)),
    "a NOT IN (1,2)": Compare("a", Op.NOT_IN, (1, 2)),
    "a contains 'x'": Compare("a", Op.CONTAINS, "x"),
    "a contains any ['x', 1]": Or((Compare("a", Op.CONTAINS, "x"), Compare("a", Op.CONTAINS, 1))),
    "a contains all ['x']": And((Compare("a", Op.CONTAINS, "x"),)),
    "a starts with 'x%'": Compare("a", Op.STARTS_WITH, "x%"),
    "a Starts With 'x'": Compare("a", Op.STARTS_WITH, "x"),
    "exists(a)": Exists("a"),
    "EXISTS ( a.b )": Exists("a.b"),
    "exists = 1": Compare("exists", Op.EQ, 1),
    "a is null": Not(Exists("a")),
    "a IS NOT NULL": Exists("a"),
    "a = 1 and b = 2": And((A, B)),
    "a = 1 and b = 2 and c = 3": And((A, B, C)),
    "a = 1 or b = 2 and c = 3": Or((A, And((B, C)))),
    "(a = 1 or b = 2) and c = 3": And((Or((A, B)), C)),
    "not a = 1": Not(A),
    "not not a = 1": Not(Not(A)),
    "not a = 1 and b = 2": And((Not(A), B)),
    "not (a = 1 and b = 2)": Not(And((A, B))),
    "a='x'and b=2": And((Compare("a", Op.EQ, "x"), B)),
}
UNREADABLE = {
    "": "ends where a field is needed",
    "   ": "ends where a field is needed",
    "a": "ends where a comparison",
    "a =": "ends where a value",
    "= 1": "a field is needed",
    "a = x": "'x' at character 4 where a value",
    "a = null": "a value",
    "a = 1 b = 2": "'b' at character 6 where the end, 'and' or 'or'",
    "a = 1 and": "ends where a field",
    "a = 1 or or b = 2": "'or' at character 9 where a field",
    "(a = 1": r"ends where '\)'",
    "a = 1)": "the end",
    "a in 1": r"'\('",
    "a in [1": "','",
    "a in [1,]": "a value",
    "a in [1 2]": "','",
    "a in (1]": "','",
    "a is 1": "'null'",
    "a like 'x'": "'like' at character 2 where a comparison",
    "a = 'x": "cannot read the filter at character 4",
    "a = 'x''": "cannot read the filter at character 7",
    "a = 1; DROP TABLE x": "cannot read the filter at character 5",
    "a = 1 -- comment": "cannot read the filter at character",
    "a && b": "cannot read the filter at character",
    "1 = a": "a field is needed",
    "a = 1.2.3": "cannot read the filter",
    "a = 2024-01-01": "the end",
    "a = 99999999999999999999": "64 bits",
    "a = 1e999": "finite",
    "a < true": "no order",
    "a starts with 1": "takes a string",
    "a..b = 1": "cannot read the filter at character 1",
    "`a..b` = 1": "empty part",
    "and = 1": "'and' at character 0 where a field",
    "exists(": "ends where a field",
    "exists('a')": "a field is needed",
    "`` = 1": "cannot read",
    "(" * 200 + "a = 1" + ")" * 200: "nested",
    "not " * 5000 + "a = 1": "nested",
}


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_reads_as(text: str):
    assert repr(parse(text)) == repr(STRINGS[text])
    assert repr(to_filter(text)) == repr(STRINGS[text])


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:20])
def test_an_unreadable_string_is_refused_with_the_place(text: str):
    with pytest.raises(FilterError, match=UNREADABLE[text]):
        parse(text)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"lang": "py"}, Compare("lang", Op.EQ, "py")),
        ({"a": 1, "b": 2}, And((A, B))),
        ({"a": {">=": 1, "<": 5}}, And((Compare("a", Op.GE, 1), Compare("a", Op.LT, 5)))),
        ({"a": [1, 2]}, Compare("a", Op.IN, (1, 2))),
        ({"a": {"=": 1}}, A),
        ({"a": {"<>": 1}}, Compare("a", Op.NE, 1)),
        ({"a": {"contains any": ["x"]}}, Or((Compare("a", Op.CONTAINS, "x"),))),
        ({"day": date(2024, 1, 1)}, Compare("day", Op.EQ, "2024-01-01")),
        ({"a.b": 1}, Compare("a.b", Op.EQ, 1)),
        ({}, And(())),
        ({"field": "a", "operator": "==", "value": 1}, A),
        ({"field": "a", "operator": "exists"}, Exists("a")),
        ({"operator": "AND", "conditions": [{"a": 1}, B]}, And((A, B))),
        ({"operator": "or", "conditions": []}, Or(())),
        ({"operator": "NOT", "conditions": [A]}, Not(A)),
        ({"operator": "NOT", "conditions": [A, B]}, Not(And((A, B)))),
        ({"operator": "AND", "conditions": [Field("a") == 1]}, And((A,))),
    ],
)
def test_a_dict_reads_as(form, expected: Filter):
    assert repr(to_filter(form)) == repr(expected)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"a": None}, "exists"),
        ({"a": {}}, "empty dict"),
        ({"a": {"~": 1}}, "unknown operator"),
        ({"a": {">": {"b": 1}}}, "takes a string, number"),
        ({"a": b"x"}, "takes a list"),
        ({1: 2}, "name"),
        ({"operator": "=="}, "names no field"),
        ({"operator": "==", "field": 3, "value": 1}, "string"),
        ({"operator": "AND"}, "list of conditions"),
        ({"operator": "AND", "conditions": "a = 1"}, "list of conditions"),
        ({"operator": "AND", "conditions": ["a = 1"]}, "a condition is a dict"),
        ({"operator": "AND", "conditions": [None]}, "a condition is a dict"),
        ({"operator": "==", "field": "a"}, "null"),
        ({"operator": "in", "field": "a", "value": "abc"}, "takes a list"),
        ({"operator": "contains any", "field": "a", "value": "abc"}, "takes a list"),
        ({"operator": None, "field": "a"}, "unknown operator"),
        (5, "int"),
        (["a"], "list"),
        (b"a = 1", "bytes"),
    ],
)
def test_an_unreadable_form_is_refused(form, said: str):
    with pytest.raises(FilterError, match=said):
        to_filter(form)


def test_a_dict_nested_beyond_reason_is_refused():
    form: dict = {"a": 1}
    for _ in range(3000):
        form = {"operator": "NOT", "conditions": [form]}
    with pytest.raises(FilterError, match="nested"):
        to_filter(form)


def test_a_condition_nested_beyond_reason_is_refused():
    condition = Field("a") == 1
    for _ in range(3000):
        condition = ~condition
    with pytest.raises(FilterError, match="nested"):
        to_filter(condition)


def test_nothing_stays_nothing_and_a_filter_itself():
    assert to_filter(None) is None
    assert to_filter(A) is A
    assert to_filter(Field("a") == 1) == A


@pytest.mark.parametrize("case", FILTER_CASES)
def test_a_case_of_the_shared_table_survives_json(case: str):
    filter = FILTER_CASES[case]
    assert repr(from_dict(json.loads(json.dumps(to_dict(filter))))) == repr(filter)


@given(FILTERS)
def test_a_filter_survives_json(filter: Filter):
    assert repr(from_dict(json.loads(json.dumps(to_dict(filter))))) == repr(filter)


@given(FILTERS)
def test_a_filter_survives_being_written_as_a_string(filter: Filter):
    text = written(filter)
    if text is not None:
        assert repr(parse(text)) == repr(filter)


@given(st.text())
def test_any_string_is_read_or_refused(text: str):
    with contextlib.suppress(FilterError):
        parse(text)


@given(
    st.lists(
        st.sampled_from(["a", "=", "1", "and", "or", "not", "(", ")", "in", "[", "]", ",", "'x'", "is", "null", "<"])
    )
)
def test_any_row_of_words_is_read_or_refused(words: list[str]):
    try:
        filter = parse(" ".join(words))
    except FilterError:
        return
    assert repr(from_dict(to_dict(filter))) == repr(filter)


def written(filter: Filter) -> str | None:
    """Write a filter as a string; None where the string form has no way to say it (joins of fewer than two)."""
    match filter:
        case And(conditions) | Or(conditions):
            parts = [written(each) for each in conditions]
            if len(parts) < 2 or None in parts:
                return None
            return (" and " if isinstance(filter, And) else " or ").join(f"({part})" for part in parts)
        case Not(condition):
            inner = written(condition)
            return None if inner is None else f"not ({inner})"
        case Exists(field):
            return f"exists(`{field}`)"
        case Compare(field, op, value):
            values = [_written_value(item) for item in (value if isinstance(value, tuple) else (value,))]
            return f"`{field}` {op} " + (f"[{', '.join(values)}]" if isinstance(value, tuple) else values[0])


def _written_value(value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)
