"""LangChain's operator dicts, read as qvec's filters.

``{"lang": "py", "stars": {"$gte": 10}, "$or": [{...}, {...}]}``: conditions side by side must all hold. Fields are
compared by qvec's rules: a missing field and a null are the same and every comparison with them is false, ``$ne`` and
``$nin`` too; comparing with ``None`` asks whether the field is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from qvec.errors import FilterError
from qvec.filters import And, Compare, Condition, Exists, Filter, Not, Op, Or, Where
from qvec.where import to_filter

LangChainFilter: TypeAlias = "Mapping[str, object] | Where"

_COMPARISONS = {
    "$eq": Op.EQ,
    "$ne": Op.NE,
    "$lt": Op.LT,
    "$lte": Op.LE,
    "$gt": Op.GT,
    "$gte": Op.GE,
    "$in": Op.IN,
    "$nin": Op.NOT_IN,
    "$contains": Op.CONTAINS,
}
_OTHERS = ("$exists", "$between", "$like", "$not")
_JOINS = ("$and", "$or", "$not")


def from_langchain(filter: LangChainFilter) -> Filter | None:
    """Read a filter as LangChain's vector stores take it.

    Args:
        filter: an operator dict; or qvec's own string (``"stars >= 10"``) or condition.

    Returns:
        None where nothing is asked for.

    Raises:
        FilterError: an unknown operator, or a value that it does not take.
    """
    if filter is None or isinstance(filter, str | Condition | Compare | Exists | And | Or | Not):
        return to_filter(filter)
    if not isinstance(filter, Mapping):
        raise FilterError(f"a filter is a dict of operators, not {type(filter).__name__}: a function cannot be asked")
    try:
        return to_filter(_all(filter)) if filter else None
    except RecursionError:
        raise FilterError("the filter is nested too deep") from None


def _all(form: Mapping[str, object]) -> Filter:
    parts = tuple(_part(key, value) for key, value in form.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _part(key: object, value: object) -> Filter:
    if not isinstance(key, str):
        raise FilterError(f"a field's name is a string, not {key!r}")
    if not key.startswith("$"):
        return _field(key, value)
    if key not in _JOINS:
        raise FilterError(f"unknown operator {key!r} around conditions; known: {', '.join(_JOINS)}")
    inner = tuple(_all(_form(item, key)) for item in _items(key, value))
    if key == "$or":
        return Or(inner)
    return And(inner if key == "$and" else tuple(Not(item) for item in inner))


def _items(key: str, value: object) -> Sequence[object]:
    if key == "$not" and isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list | tuple):
        raise FilterError(f"{key} takes a list of conditions, not {value!r}")
    return value


def _form(item: object, key: str) -> Mapping[str, object]:
    if not isinstance(item, Mapping) or not item:
        raise FilterError(f"{key} joins dicts of conditions, not {item!r}")
    return item


def _field(field: str, value: object) -> Filter:
    if not isinstance(value, Mapping):
        return _compare(field, "$eq", value)
    if not value:
        raise FilterError(f"{field!r} is compared with an empty dict")
    parts = tuple(_compare(field, operator, item) for operator, item in value.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _compare(field: str, operator: object, value: object) -> Filter:
    if value is None and operator in ("$eq", "$ne"):
        return Exists(field) if operator == "$ne" else Not(Exists(field))
    if isinstance(operator, str) and operator in _COMPARISONS:
        return Compare(field, _COMPARISONS[operator], value)  # type: ignore[arg-type]
    match operator:
        case "$exists" if isinstance(value, bool):
            return Exists(field) if value else Not(Exists(field))
        case "$between" if isinstance(value, list | tuple) and len(value) == 2:
            return And((Compare(field, Op.GE, value[0]), Compare(field, Op.LE, value[1])))
        case "$like" if isinstance(value, str):
            return _like(field, value)
        case "$not":
            return Not(_field(field, value))
        case "$exists" | "$between" | "$like":
            wants = {"$exists": "true or false", "$between": "[low, high]", "$like": "a pattern"}[str(operator)]
            raise FilterError(f"{field!r} {operator}: takes {wants}, not {value!r}")
        case _:
            known = ", ".join((*_COMPARISONS, *_OTHERS))
            raise FilterError(f"unknown operator {operator!r} on {field!r}; known: {known}")


def _like(field: str, pattern: str) -> Filter:
    prefix = pattern.removesuffix("%")
    if any(sign in prefix for sign in "%_\\"):
        raise FilterError(
            f"{field!r} $like {pattern!r}: only the beginning of a string can be asked for, as 'abc%'; "
            "search words within a text with mode='lexical'"
        )
    return Compare(field, Op.EQ if prefix == pattern else Op.STARTS_WITH, prefix)
