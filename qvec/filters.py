"""The portable filter: its values, its Python and dict forms, and `matches`, which defines what each means.

Rules that every adapter keeps, because `matches` does:

- A missing field and a null are the same. Every comparison with them is false; ``Not`` is the exact complement.
- ``==`` and the like compare equal types: number with number, string with string, boolean with boolean. ``!=`` and
  ``not in`` are true for any value that is there and differs.
- Strings are ordered by code point, so ISO 8601 dates order as dates. ``date`` and ``datetime`` are written so.
- ``contains`` looks for one value in a list; a list is never equal to a scalar.
- ``a.b`` looks into nested objects; a dot in a key is written ``\\.``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeAlias, cast

from qvec.errors import FilterError
from qvec.types import Scalar, Value


class Op(StrEnum):
    """The comparisons."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    NOT_IN = "not in"
    CONTAINS = "contains"
    STARTS_WITH = "starts with"


ORDERED = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})
MEMBERSHIP = frozenset({Op.IN, Op.NOT_IN})


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare a field with a value; false where the field is missing."""

    field: str
    op: Op
    value: Scalar | tuple[Scalar, ...]

    def __post_init__(self) -> None:
        split_path(self.field)
        object.__setattr__(self, "op", _op(self.op))
        value = self.value
        if self.op in MEMBERSHIP:
            if isinstance(value, str | bytes) or not isinstance(value, Sequence):
                raise FilterError(f"{self.field!r} {self.op}: takes a list of values, not {value!r}")
            object.__setattr__(self, "value", tuple(_scalar(self.field, item) for item in value))
            return
        object.__setattr__(self, "value", _scalar(self.field, value))
        if self.op in ORDERED and isinstance(self.value, bool):
            raise FilterError(f"{self.field!r} {self.op}: booleans have no order; use ==")
        if self.op is Op.STARTS_WITH and not isinstance(self.value, str):
            raise FilterError(f"{self.field!r} starts with: takes a string, not {value!r}")

    @property
    def path(self) -> tuple[str, ...]:
        """The field's keys, outermost first."""
        return split_path(self.field)


@dataclass(frozen=True, slots=True)
class Exists:
    """Be true where the field is there and not null."""

    field: str

    def __post_init__(self) -> None:
        split_path(self.field)

    @property
    def path(self) -> tuple[str, ...]:
        """The field's keys, outermost first."""
        return split_path(self.field)


@dataclass(frozen=True, slots=True)
class And:
    """Be true where all conditions are; without conditions, everywhere."""

    conditions: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Be true where any condition is; without conditions, nowhere."""

    conditions: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Be true exactly where the condition is not."""

    condition: Filter


Filter: TypeAlias = Compare | Exists | And | Or | Not
Where: TypeAlias = "Filter | Condition | Mapping[str, object] | str | None"
"""A filter in any of its forms."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter that ``&``, ``|`` and ``~`` combine; made by comparing a `Field`."""

    filter: Filter

    def __and__(self, other: Condition) -> Condition:
        return Condition(And(_parts(And, self) + _parts(And, other)))

    def __or__(self, other: Condition) -> Condition:
        return Condition(Or(_parts(Or, self) + _parts(Or, other)))

    def __invert__(self) -> Condition:
        return Condition(Not(self.filter))

    def __bool__(self) -> bool:
        raise FilterError("join conditions with &, | and ~, not with and, or and not")


def _parts(join: type[And | Or], condition: Condition) -> tuple[Filter, ...]:
    # A chain of a hundred conditions stays flat: nested, it would be too deep for a database's parser.
    filter = condition.filter
    return filter.conditions if isinstance(filter, And | Or) and isinstance(filter, join) else (filter,)


class Field:
    """A metadata field, to be compared: ``(Field("stars") >= 10) & Field("lang").is_in(["py"])``."""

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compare(Op.EQ, value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compare(Op.NE, value)

    def __lt__(self, value: object) -> Condition:
        return self._compare(Op.LT, value)

    def __le__(self, value: object) -> Condition:
        return self._compare(Op.LE, value)

    def __gt__(self, value: object) -> Condition:
        return self._compare(Op.GT, value)

    def __ge__(self, value: object) -> Condition:
        return self._compare(Op.GE, value)

    def is_in(self, values: Sequence[object]) -> Condition:
        return self._compare(Op.IN, values)

    def not_in(self, values: Sequence[object]) -> Condition:
        return self._compare(Op.NOT_IN, values)

    def contains(self, value: object) -> Condition:
        return self._compare(Op.CONTAINS, value)

    def contains_any(self, values: Sequence[object]) -> Condition:
        return Condition(Or(tuple(self.contains(value).filter for value in values)))

    def contains_all(self, values: Sequence[object]) -> Condition:
        return Condition(And(tuple(self.contains(value).filter for value in values)))

    def starts_with(self, prefix: str) -> Condition:
        return self._compare(Op.STARTS_WITH, prefix)

    def exists(self) -> Condition:
        return Condition(Exists(self.name))

    def _compare(self, op: Op, value: object) -> Condition:
        return Condition(Compare(self.name, op, value))  # type: ignore[arg-type]


def matches(filter: Filter, metadata: Mapping[str, Value]) -> bool:
    """Tell whether a document's metadata satisfies a filter; the definition for every adapter."""
    match filter:
        case And(conditions):
            return all(matches(condition, metadata) for condition in conditions)
        case Or(conditions):
            return any(matches(condition, metadata) for condition in conditions)
        case Not(condition):
            return not matches(condition, metadata)
        case Exists():
            return _look_up(metadata, filter.path) is not None
        case Compare():
            found = _look_up(metadata, filter.path)
            return found is not None and _compare(filter.op, found, filter.value)


def normalise(value: object) -> object:
    """Write dates as ISO 8601 strings, datetimes with a zone in UTC with a ``Z``; leave anything else alone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return value.isoformat() if isinstance(value, date) else value


def split_path(name: str) -> tuple[str, ...]:
    """Split ``a.b`` into its keys; ``\\.`` keeps a dot."""
    if not isinstance(name, str) or not name:
        raise FilterError(f"a filter needs a field's name, not {name!r}")
    _check_string("a field's name", name)
    keys = tuple(key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", name))
    if not all(keys):
        raise FilterError(f"the field {name!r} has an empty part; write a dot in a key as \\.")
    return keys


def _look_up(metadata: Mapping[str, Value], path: tuple[str, ...]) -> Value:
    found: Value = metadata
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _compare(op: Op, found: Value, value: Scalar | tuple[Scalar, ...]) -> bool:
    if isinstance(value, tuple):
        inside = any(_equal(found, item) for item in value)
        return inside if op is Op.IN else not inside
    match op:
        case Op.EQ:
            return _equal(found, value)
        case Op.NE:
            return not _equal(found, value)
        case Op.CONTAINS:
            return _is_list(found) and any(_equal(item, value) for item in cast(Sequence[Value], found))
        case Op.STARTS_WITH:
            return isinstance(found, str) and isinstance(value, str) and found.startswith(value)
        case _:
            return _in_order(op, found, value)


def _equal(found: Value, value: Scalar) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return isinstance(found, bool) and isinstance(value, bool) and found == value
    if isinstance(value, str):
        return isinstance(found, str) and found == value
    return isinstance(found, int | float) and found == value


def _in_order(op: Op, found: Value, value: Scalar) -> bool:
    if isinstance(found, str) and isinstance(value, str):
        sign = (found > value) - (found < value)
    elif _is_number(found) and _is_number(value):
        sign = (found > value) - (found < value)  # type: ignore[operator]
    else:
        return False
    return {Op.LT: sign < 0, Op.LE: sign <= 0, Op.GT: sign > 0, Op.GE: sign >= 0}[op]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _op(op: object) -> Op:
    try:
        return Op(str(op))
    except ValueError as exc:
        raise FilterError(f"unknown operator {op!r}; known: {', '.join(Op)}") from exc


def _scalar(name: str, value: object) -> Scalar:
    value = normalise(value)
    if value is None:
        raise FilterError(f"{name!r} compared with null: use exists({name}) or not exists({name})")
    if not isinstance(value, str | int | float | bool):
        raise FilterError(f"{name!r} compared with {type(value).__name__}: takes a string, number, boolean or date")
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{name!r} compared with {value}: takes finite numbers")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise FilterError(f"{name!r} compared with {value}: beyond 64 bits")
    if isinstance(value, str):
        _check_string(f"the value that {name!r} is compared with", value)
    return value


def _check_string(what: str, text: str) -> None:
    if "\0" in text:
        raise FilterError(f"{what} holds NUL, which no document can hold")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise FilterError(f"{what} holds a lone surrogate, which no document can hold")
