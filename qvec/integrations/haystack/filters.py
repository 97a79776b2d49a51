"""Haystack's filters, read as qvec's filters with Haystack's meaning.

``!=`` and ``not in`` are true of a document that lacks the field; every order is false of it. Order is for numbers and
for dates, in whatever ISO 8601 form these are written. A field is ``meta.a.b``; of the document itself only ``id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from qvec.errors import FilterError
from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or
from qvec.integrations.haystack.documents import CLOCK, ID, ORDER, UTC_CLOCK, in_utc, moment, on_clock
from qvec.integrations.haystack.errors import QvecFilterError
from qvec.types import Scalar
from qvec.where import to_filter

_ORDERS = {">": Op.GT, ">=": Op.GE, "<": Op.LT, "<=": Op.LE}
_COMPARISONS = ("==", "!=", "in", "not in", *_ORDERS)
_JOINS = ("AND", "OR", "NOT")
_OF_DOCUMENT = frozenset({"content", "blob", "meta", "score", "embedding", "sparse_embedding"})


def from_haystack(filters: Mapping[str, object] | None) -> Filter | None:
    """Read filters.

    Returns:
        None where nothing is asked for.

    Raises:
        QvecFilterError: malformed, an unknown operator, or a value that it does not take.
    """
    if not filters:
        return None
    try:
        return to_filter(_read(filters))
    except QvecFilterError:
        raise
    except FilterError as exc:
        raise QvecFilterError(str(exc)) from exc
    except RecursionError:
        raise QvecFilterError("the filter is nested too deep") from None


def _read(form: object) -> Filter:
    if not isinstance(form, Mapping):
        raise QvecFilterError(f"a filter is a dict, not {form!r}")
    if "field" in form:
        return _comparison(form)
    for key in ("operator", "conditions"):
        if key not in form:
            raise QvecFilterError(f"the filter has no {key!r}: {dict(form)!r}")
    operator, conditions = form["operator"], form["conditions"]
    if operator not in _JOINS:
        raise QvecFilterError(f"unknown operator {operator!r} around conditions; known: {', '.join(_JOINS)}")
    if not isinstance(conditions, list | tuple):
        raise QvecFilterError(f"{operator} takes a list of conditions, not {conditions!r}")
    parts = tuple(_read(item) for item in conditions)
    if operator == "OR":
        return Or(parts)
    return And(parts) if operator == "AND" else Not(And(parts))


def _comparison(form: Mapping[str, object]) -> Filter:
    for key in ("operator", "value"):
        if key not in form:
            raise QvecFilterError(f"the condition has no {key!r}: {dict(form)!r}")
    path, operator, value = _path(form["field"]), form["operator"], form["value"]
    match operator:
        case "==":
            return _equal(path, value)
        case "!=":
            return Not(_equal(path, value))
        case "in":
            return _among(path, value)
        case "not in":
            return Not(_among(path, value))
        case str() if operator in _ORDERS:
            return _ordered(path, _ORDERS[operator], value)
        case _:
            raise QvecFilterError(f"unknown operator {operator!r}; known: {', '.join(_COMPARISONS)}")


def _path(field: object) -> str:
    if not isinstance(field, str):
        raise QvecFilterError(f"a field's name is a string, not {field!r}")
    if field == "id":
        return ID
    if field in _OF_DOCUMENT:
        raise QvecFilterError(f"{field!r} cannot be filtered on: take fields under meta, or id")
    return field.removeprefix("meta.")


def _equal(path: str, value: object) -> Filter:
    if value is None:
        return Not(Exists(path))
    same = Compare(path, Op.EQ, value)  # type: ignore[arg-type]  # checked there
    when = moment(value)
    return same if when is None else Or((same, _at(path, Op.EQ, when)))


def _among(path: str, values: object) -> Filter:
    if not isinstance(values, list):
        raise QvecFilterError(f"{path!r}: in and not in take a list, not {type(values).__name__}")
    return Or(tuple(_equal(path, value) for value in values))


def _ordered(path: str, op: Op, value: object) -> Filter:
    if value is None:
        return Or(())
    if isinstance(value, int | float):
        return Compare(path, op, value)
    when = moment(value)
    if when is None:
        raise QvecFilterError(f"{path!r} {op.value} {value!r}: order is for numbers and ISO 8601 dates")
    return Or((_at(path, op, when), _as_written(path, op, value)))


def _at(path: str, op: Op, when: datetime) -> Filter:
    # As in Haystack: two moments of which one has no zone are compared as a clock on the wall shows them.
    by_clock = Compare(f"{CLOCK}.{path}", op, on_clock(when))
    instant = in_utc(when)
    if instant is None:
        return by_clock
    utc = f"{UTC_CLOCK}.{path}"
    return Or((Compare(utc, op, instant), And((Not(Exists(utc)), by_clock))))


def _as_written(path: str, op: Op, value: object) -> Filter:
    # A record that another tool wrote has no clocks beside its dates.
    raw: Scalar = value  # type: ignore[assignment]  # a date, which Compare writes as its string
    return And((Not(Exists(ORDER)), Compare(path, op, raw)))
