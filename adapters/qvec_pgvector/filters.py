"""The portable filter as a condition on the column ``metadata``, equal to `qvec.filters.matches`.

Every comparison is wrapped so that it is true or false, never NULL: `Not` must be the exact complement. Casts stand
in CASE, because PostgreSQL may evaluate the sides of an AND in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from psycopg import sql

from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or
from qvec.types import Scalar

_ORDER = {Op.LT: sql.SQL("<"), Op.LE: sql.SQL("<="), Op.GT: sql.SQL(">"), Op.GE: sql.SQL(">=")}
_TRUE, _FALSE = sql.SQL("true"), sql.SQL("false")

Parameters = list[object]


def compile_filter(filter: Filter | None) -> tuple[sql.Composable, Parameters]:
    """Write a filter as a condition with placeholders and their values; no filter is always true."""
    parameters: Parameters = []
    return (_compile(filter, parameters) if filter is not None else _TRUE), parameters


def _compile(filter: Filter, parameters: Parameters) -> sql.Composable:
    match filter:
        case And(conditions):
            return _join(" AND ", _TRUE, [_compile(item, parameters) for item in conditions])
        case Or(conditions):
            return _join(" OR ", _FALSE, [_compile(item, parameters) for item in conditions])
        case Not(condition):
            return sql.SQL("NOT ({})").format(_compile(condition, parameters))
        case Exists():
            return _exists(list(filter.path), parameters)
        case Compare():
            return _compare(filter, list(filter.path), parameters)


def _join(word: str, empty: sql.SQL, parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(word).join(parts)) if parts else empty


def _found(path: Sequence[str], parameters: Parameters) -> sql.Composable:
    """The value at a path. Keys go one by one through ``->``: ``#>`` would take a number for a place in a list."""
    parameters.extend(path)
    return sql.SQL("(metadata{})").format(sql.SQL("").join([sql.SQL(" -> %s::text")] * len(path)))


def _exists(path: Sequence[str], parameters: Parameters) -> sql.Composable:
    return sql.SQL("coalesce(jsonb_typeof({}), 'null') <> 'null'").format(_found(path, parameters))


def _compare(filter: Compare, path: Sequence[str], parameters: Parameters) -> sql.Composable:
    if filter.op in {Op.NE, Op.NOT_IN}:
        exists = _exists(path, parameters)
        return sql.SQL("({} AND NOT {})").format(exists, _any_equal(filter.value, path, parameters))
    if filter.op in {Op.EQ, Op.IN}:
        return _any_equal(filter.value, path, parameters)
    assert not isinstance(filter.value, tuple)
    if filter.op is Op.CONTAINS:
        return _contains(filter.value, path, parameters)
    if filter.op is Op.STARTS_WITH:
        return _guarded("string", sql.SQL("starts_with({found} #>> '{{}}', %s)"), path, filter.value, parameters)
    if isinstance(filter.value, str):
        test = sql.SQL("({found} #>> '{{}}') COLLATE \"C\" {op} %s")
        return _guarded("string", test, path, filter.value, parameters, op=_ORDER[filter.op])
    test = sql.SQL("({found} #>> '{{}}')::numeric {op} %s")
    return _guarded("number", test, path, _number(filter.value), parameters, op=_ORDER[filter.op])


def _guarded(
    kind: str,
    test: sql.SQL,
    path: Sequence[str],
    value: object,
    parameters: Parameters,
    *,
    op: sql.SQL | None = None,
) -> sql.Composable:
    guard = _found(path, parameters)
    found = _found(path, parameters)
    parameters.append(value)
    inner = test.format(found=found, op=op or sql.SQL(""))
    return sql.SQL("(CASE WHEN jsonb_typeof({}) = {} THEN {} ELSE false END)").format(guard, sql.Literal(kind), inner)


def _any_equal(value: Scalar | tuple[Scalar, ...], path: Sequence[str], parameters: Parameters) -> sql.Composable:
    values = value if isinstance(value, tuple) else (value,)
    return _join(" OR ", _FALSE, [_equal(item, path, parameters) for item in values])


def _equal(value: Scalar, path: Sequence[str], parameters: Parameters) -> sql.Composable:
    found = _found(path, parameters)
    return sql.SQL("coalesce({} = {}, false)").format(found, _json(value, parameters))


def _contains(value: Scalar, path: Sequence[str], parameters: Parameters) -> sql.Composable:
    guard = _found(path, parameters)
    found = _found(path, parameters)
    return sql.SQL(
        "(CASE WHEN jsonb_typeof({}) = 'array' "
        "THEN EXISTS (SELECT FROM jsonb_array_elements({}) AS item WHERE item = {}) ELSE false END)"
    ).format(guard, found, _json(value, parameters))


def _json(value: Scalar, parameters: Parameters) -> sql.Composable:
    """The value as jsonb; jsonb compares numbers as numeric, so 1 equals 1.0, and keeps types apart."""
    parameters.append(value if isinstance(value, bool | str) else _number(value))
    cast = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "numeric"
    return sql.SQL(f"to_jsonb(%s::{cast})")


def _number(value: Scalar) -> Decimal:
    return Decimal(str(value))
