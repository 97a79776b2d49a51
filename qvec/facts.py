"""What a filter may ask of a document, one fact at a time: that a field exists, what it equals, what its list contains.

A database whose own filters over JSON fall short of the definition stores each fact as a short hash of `text_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from qvec.types import Scalar, Value

Path: TypeAlias = tuple[str, ...]
Fact: TypeAlias = tuple[Literal["exists", "equals", "contains"], Path, Scalar | None]
"""What is said of the field at a path, and its value; `exists` has none."""


def exists(path: Sequence[str]) -> Fact:
    """Name the fact that a field is there."""
    return "exists", tuple(path), None


def equals(path: Sequence[str], value: Scalar) -> Fact:
    """Name the fact that a field has a value."""
    return "equals", tuple(path), value


def contains(path: Sequence[str], value: Scalar) -> Fact:
    """Name the fact that a field's list contains a value."""
    return "contains", tuple(path), value


def facts_of(metadata: Mapping[str, Value]) -> list[Fact]:
    """List a document's facts, repeats included; a field that is None is not there."""
    facts: list[Fact] = []
    _walk(metadata, (), facts)
    return facts


def text_of(what: str, path: Sequence[str], value: Scalar | None = None) -> str:
    """Write a fact so that no two are alike, but those of equal numbers."""
    return "\0".join((what, *path)) + "\0\0" + ("" if value is None else _canonical(value))


def _walk(value: Value, path: Path, facts: list[Fact]) -> None:
    if value is None:
        return
    if path:
        facts.append(("exists", path, None))
    if isinstance(value, Mapping):
        for name, item in value.items():
            _walk(item, (*path, name), facts)
    elif isinstance(value, str | bool | int | float):
        facts.append(("equals", path, value))
    else:
        facts += [("contains", path, item) for item in value if isinstance(item, str | bool | int | float)]


def _canonical(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"boolean {value}"
    if isinstance(value, str):
        return f"string {value}"
    return f"number {int(value) if isinstance(value, int) or value.is_integer() else repr(value)}"
