"""The portable filter as a Milvus expression over a document's facts, equal to `qvec.filters.matches`.

Only hashes, numbers and JSON-escaped strings get into an expression, so no value can end its own quotes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from qvec.facts import contains, equals, exists
from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or
from qvec.types import Scalar
from qvec_milvus.facts import hashed, is_kind, key

EVERYTHING = 'id != ""'
NOTHING = 'id == ""'
_ORDER = {Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">="}
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def compile_filter(filter: Filter | None) -> str:
    """Write a filter as an expression; no filter is the empty one."""
    return "" if filter is None else _compile(filter)


def among(field: str, values: Sequence[str]) -> str:
    """Write that a VARCHAR field has one of these values."""
    return f"{field} in [{', '.join(literal(value) for value in values)}]" if values else NOTHING


def every_number(field: str) -> str:
    """Write what is true of every INT64; servers of 2.3 cannot read the lowest of them."""
    return f"({field} >= 0 or {field} < 0)"


def literal(text: str) -> str:
    """Write a string literal; Milvus reads JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)


def _compile(filter: Filter) -> str:
    match filter:
        case And(conditions):
            return _join(" and ", EVERYTHING, [_compile(item) for item in conditions])
        case Or(conditions):
            return _join(" or ", NOTHING, [_compile(item) for item in conditions])
        case Not(condition):
            return f"(not ({_compile(condition)}))"
        case Exists():
            return _has(hashed(*exists(filter.path)))
        case Compare():
            return _compare(filter)


def _join(word: str, empty: str, parts: Sequence[str]) -> str:
    return f"({word.join(parts)})" if parts else f"({empty})"


def _has(fact: int) -> str:
    return f"array_contains(facts, {fact})"


def _has_any(facts: list[int]) -> str:
    return f"array_contains_any(facts, {facts})" if facts else f"({NOTHING})"


def _compare(filter: Compare) -> str:
    value = filter.value
    if isinstance(value, tuple):
        inside = _has_any([hashed(*equals(filter.path, item)) for item in value])
        return inside if filter.op is Op.IN else f"({_has(hashed(*exists(filter.path)))} and not {inside})"
    if filter.op is Op.EQ:
        return _has(hashed(*equals(filter.path, value)))
    if filter.op is Op.NE:
        return f"({_has(hashed(*exists(filter.path)))} and not {_has(hashed(*equals(filter.path, value)))})"
    if filter.op is Op.CONTAINS:
        return _has(hashed(*contains(filter.path, value)))
    if filter.op is Op.STARTS_WITH:
        return _starts_with(filter.path, str(value))
    return _in_order(filter.path, _ORDER[filter.op], value)


def _in_order(path: Sequence[str], operator: str, value: Scalar) -> str:
    kind = "string" if isinstance(value, str) else "number"
    written = literal(value) if isinstance(value, str) else repr(value)
    return f'({_has(is_kind(path, kind))} and values["{key(path, kind)}"] {operator} {written})'


def _starts_with(path: Sequence[str], prefix: str) -> str:
    """A range of strings: ``like`` escapes ``%`` and ``_`` in another way in each version."""
    if not prefix:
        return _has(is_kind(path, "string"))
    low = _in_order(path, ">=", prefix)
    end = _after(prefix)
    return f"({low} and {_in_order(path, '<', end)})" if end else low


def _after(prefix: str) -> str:
    """The first string, by code points, after all that start with `prefix`; empty when there is none."""
    while prefix and ord(prefix[-1]) == _LAST_CHARACTER:
        prefix = prefix[:-1]
    if not prefix:
        return ""
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)
