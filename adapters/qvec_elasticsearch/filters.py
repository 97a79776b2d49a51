"""The portable filter as an Elasticsearch query over a document's facts, equal to `qvec.filters.matches`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from qvec.errors import UnsupportedError
from qvec.facts import Fact, contains, equals, exists
from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or
from qvec.types import Scalar
from qvec_elasticsearch.facts import MAX_ORDERED, hashed, kind_of, ordered, prefix_of

Query: TypeAlias = Mapping[str, object]

EVERYTHING: Query = {"match_all": {}}
NOTHING: Query = {"match_none": {}}
_BOUNDS = {Op.LT: "lt", Op.LE: "lte", Op.GT: "gt", Op.GE: "gte"}
_TERMS_AT_ONCE = 60_000
"""``index.max_terms_count`` is 65,536."""


def compile_filter(filter: Filter | None) -> Query:
    """Write a filter as a query; no filter matches everything."""
    if filter is None:
        return EVERYTHING
    match filter:
        case And(conditions):
            return both([compile_filter(item) for item in conditions])
        case Or(conditions):
            return any_of([compile_filter(item) for item in conditions])
        case Not(Not(condition)):
            return compile_filter(condition)
        case Not(condition):
            return {"bool": {"must_not": [compile_filter(condition)]}}
        case Exists():
            return _has(exists(filter.path))
        case Compare():
            return _compare(filter)


def both(queries: Sequence[Query]) -> Query:
    """Join queries that must all match."""
    if len(queries) == 1:
        return queries[0]
    return {"bool": {"filter": list(queries)}} if queries else EVERYTHING


def any_of(queries: Sequence[Query]) -> Query:
    """Join queries of which one must match."""
    if len(queries) == 1:
        return queries[0]
    return {"bool": {"should": list(queries), "minimum_should_match": 1}} if queries else NOTHING


def among(field: str, values: Sequence[str]) -> Query:
    """Match what has one of these values in a keyword field."""
    parts = [values[start : start + _TERMS_AT_ONCE] for start in range(0, len(values), _TERMS_AT_ONCE)]
    return any_of([{"terms": {field: list(part)}} for part in parts])


def _has(fact: Fact) -> Query:
    return {"term": {"facts": hashed(*fact)}}


def _compare(filter: Compare) -> Query:
    value, path = filter.value, filter.path
    if isinstance(value, tuple):
        inside = among("facts", [hashed(*equals(path, item)) for item in value])
        return inside if filter.op is Op.IN else _differs(path, inside)
    if filter.op is Op.EQ:
        return _has(equals(path, value))
    if filter.op is Op.NE:
        return _differs(path, _has(equals(path, value)))
    if filter.op is Op.CONTAINS:
        return _has(contains(path, value))
    if filter.op is Op.STARTS_WITH:
        return {"prefix": {"order": _ordered(path, value)}}
    return {"range": {"order": _range(path, filter.op, value)}}


def _differs(path: Sequence[str], equal: Query) -> Query:
    return {"bool": {"filter": [_has(exists(path))], "must_not": [equal]}}


def _range(path: Sequence[str], op: Op, value: Scalar) -> dict[str, str]:
    """Bound a range, on its open side by the values of the same field and kind: the next letter ends them."""
    kind = kind_of(value)
    if op in {Op.LT, Op.LE}:
        return {"gte": prefix_of(path, kind), _BOUNDS[op]: _ordered(path, value)}
    return {_BOUNDS[op]: _ordered(path, value), "lt": prefix_of(path, chr(ord(kind) + 1))}


def _ordered(path: Sequence[str], value: Scalar) -> str:
    # Stored strings are cut at the limit (at most 3 bytes before it): shorter ones order as if nothing were cut.
    if isinstance(value, str) and len(value.encode()) >= MAX_ORDERED - 3:
        raise UnsupportedError(
            f"a filter by order or prefix takes a string below {MAX_ORDERED - 3} bytes in Elasticsearch, "
            f"not {len(value.encode())}"
        )
    return ordered(path, value)
