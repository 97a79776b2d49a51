"""What Elasticsearch can rule out of another program's index before a filter is applied here.

A field there may be cut, rounded, lowercased or parsed in a form of its own. So the query matches at least what the
filter matches, and `qvec.filters.matches` has the last word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from qvec.filters import And, Compare, Filter, Op, Or
from qvec.types import Scalar
from qvec_elasticsearch.filters import EVERYTHING, Query, any_of, both
from qvec_elasticsearch.foreign_fields import Field, field_of

_WHOLE = {"long", "integer", "short", "byte"}
_NUMBERS = {*_WHOLE, "double", "float"}
_EQUAL = {Op.EQ, Op.IN, Op.CONTAINS}
_BOUNDS = {Op.LT: "lte", Op.LE: "lte", Op.GT: "gte", Op.GE: "gte"}


def narrowed(filter: Filter | None, properties: Field) -> Query:
    """Write a query that matches all that a filter does, and maybe more."""
    match filter:
        case And(conditions):
            return both([query for item in conditions if (query := narrowed(item, properties)) != EVERYTHING])
        case Or(conditions):
            queries = [narrowed(item, properties) for item in conditions]
            return EVERYTHING if EVERYTHING in queries else any_of(queries)
        case Compare() if filter.op in _EQUAL:
            values = filter.value if isinstance(filter.value, tuple) else (filter.value,)
            name = _equal_field(properties, filter.path, values)
            return {"terms": {name: list(values)}} if name else EVERYTHING
        case Compare(value=int() | float() as value) if filter.op in _BOUNDS and not isinstance(value, bool):
            field = field_of(properties, filter.path) or {}
            if field.get("type") not in _WHOLE or not _is_searchable(field) or abs(value) >= 2**53:
                return EVERYTHING
            # 5.5 in such a field is indexed as 5.
            bound = math.ceil(value) if _BOUNDS[filter.op] == "lte" else math.floor(value)
            return {"range": {".".join(filter.path): {_BOUNDS[filter.op]: bound}}}
        case _:
            return EVERYTHING


def _equal_field(properties: Field, path: Sequence[str], values: Sequence[Scalar]) -> str:
    """Name the field whose terms tell whether these values are there; empty: none does."""
    for beneath in ([], ["keyword"]):
        field = field_of(properties, [*path, *beneath]) or {}
        if _is_searchable(field) and all(_is_indexed(field, value) for value in values):
            return ".".join([*path, *beneath])
    return ""


def _is_indexed(field: Field, value: Scalar) -> bool:
    kind = field.get("type")
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, str):
        # Lucene's longest term has 32,766 bytes.
        return kind == "keyword" and len(value) <= min(field.get("ignore_above", 8000), 8000)
    return kind in _NUMBERS and abs(value) < 2**53 and (kind not in _WHOLE or float(value).is_integer())


def _is_searchable(field: Field) -> bool:
    return bool(field) and bool(field.get("index", True)) and not field.get("ignore_malformed", False)
