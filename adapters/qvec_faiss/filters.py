"""The portable filter as an SQLite condition over the JSON column ``metadata``, equal to `qvec.filters.matches`.

Every comparison is wrapped so that it is 0 or 1, never NULL: `Not` must be the exact complement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or, matches
from qvec.types import Scalar
from qvec.where import from_dict, to_dict

MATCHES = "qvec_matches"
_UNQUOTABLE = re.compile(r'["\\\x00-\x1f\x7f]')
_ORDER = {Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">="}
_NUMBERS = "IN ('integer', 'real')"

Parameters = list[str | int | float]


def compile_filter(filter: Filter | None) -> tuple[str, Parameters]:
    """Write a filter as a condition with its bound values; no filter is always true."""
    parameters: Parameters = []
    return (_compile(filter, parameters) if filter is not None else "1"), parameters


def python_matches(metadata: str, form: str) -> bool:
    """Judge one row; registered in SQLite as ``qvec_matches`` for what JSON paths cannot say."""
    return matches(from_dict(json.loads(form)), json.loads(metadata))


def _compile(filter: Filter, parameters: Parameters) -> str:
    match filter:
        case And(conditions):
            return _join(" AND ", "1", [_compile(item, parameters) for item in conditions])
        case Or(conditions):
            return _join(" OR ", "0", [_compile(item, parameters) for item in conditions])
        case Not(condition):
            return f"NOT ({_compile(condition, parameters)})"
        case Exists() | Compare():
            if any(_UNQUOTABLE.search(key) for key in filter.path):
                # SQLite compares a path's key with the JSON text as written: what JSON escapes is not found.
                parameters.append(json.dumps(to_dict(filter), ensure_ascii=False))
                return f"{MATCHES}(metadata, ?)"
            path = "$" + "".join(f'."{key}"' for key in filter.path)
            return _exists(path, parameters) if isinstance(filter, Exists) else _compare(filter, path, parameters)


def _join(word: str, empty: str, parts: Sequence[str]) -> str:
    return f"({word.join(parts)})" if parts else empty


def _exists(path: str, parameters: Parameters) -> str:
    parameters.append(path)
    return "coalesce(json_type(metadata, ?), 'null') <> 'null'"


def _compare(filter: Compare, path: str, parameters: Parameters) -> str:
    if filter.op in {Op.NE, Op.NOT_IN}:
        exists = _exists(path, parameters)
        return f"({exists} AND NOT {_any_equal(filter.value, path, parameters)})"
    if filter.op in {Op.EQ, Op.IN}:
        return _any_equal(filter.value, path, parameters)
    assert not isinstance(filter.value, tuple)
    if filter.op is Op.CONTAINS:
        return _contains(filter.value, path, parameters)
    if filter.op is Op.STARTS_WITH:
        parameters += [path, path, filter.value, filter.value]
        return "coalesce(json_type(metadata, ?) = 'text' AND substr(json_extract(metadata, ?), 1, length(?)) = ?, 0)"
    kind = "= 'text'" if isinstance(filter.value, str) else _NUMBERS
    parameters += [path, path, filter.value]
    return f"coalesce(json_type(metadata, ?) {kind} AND json_extract(metadata, ?) {_ORDER[filter.op]} ?, 0)"


def _any_equal(value: Scalar | tuple[Scalar, ...], path: str, parameters: Parameters) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return _join(" OR ", "0", [_equal(item, path, parameters) for item in values])


def _equal(value: Scalar, path: str, parameters: Parameters) -> str:
    if isinstance(value, bool):
        parameters += [path, "true" if value else "false"]
        return "coalesce(json_type(metadata, ?) = ?, 0)"
    kind = "= 'text'" if isinstance(value, str) else _NUMBERS
    parameters += [path, path, value]
    return f"coalesce(json_type(metadata, ?) {kind} AND json_extract(metadata, ?) = ?, 0)"


def _contains(value: Scalar, path: str, parameters: Parameters) -> str:
    parameters += [path, path]
    if isinstance(value, bool):
        parameters.append("true" if value else "false")
        test = "type = ?"
    else:
        parameters.append(value)
        kind = "= 'text'" if isinstance(value, str) else _NUMBERS
        test = f"type {kind} AND atom = ?"
    return (
        "(coalesce(json_type(metadata, ?), '') = 'array' "
        f"AND EXISTS (SELECT 1 FROM json_each(metadata, ?) WHERE {test}))"
    )
