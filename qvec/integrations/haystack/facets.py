"""What values metadata fields have, counted over documents that were read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from qvec.errors import InvalidInputError
from qvec.integrations.haystack.documents import moment

Metadata: TypeAlias = Iterable[Mapping[str, object]]


def count_values(documents: Metadata, fields: Sequence[str]) -> dict[str, int]:
    """Count the values of each field."""
    held = list(documents)
    return {field.removeprefix("meta."): len(_distinct(held, field)) for field in fields}


def values_of(documents: Metadata, field: str, term: str | None = None) -> list[Any]:
    """List the values of a field, sorted by their strings; with `term`, those that hold it, whatever its case."""
    found = sorted(_distinct(documents, field), key=lambda value: (str(value), type(value).__name__))
    return [value for value in found if term is None or term.lower() in str(value).lower()]


def extremes(documents: Metadata, field: str) -> dict[str, Any]:
    """Find the smallest and the largest value of a field.

    Raises:
        InvalidInputError: its values have no common order.
    """
    found = _distinct(documents, field)
    try:
        return {"min": min(found, default=None), "max": max(found, default=None)}
    except TypeError as exc:
        raise InvalidInputError(f"the values of {field!r} have no common order: {exc}") from exc


def field_types(documents: Metadata) -> dict[str, dict[str, str]]:
    """Tell the type of each field, by its first value."""
    found: dict[str, dict[str, str]] = {}
    for metadata in documents:
        for key, value in metadata.items():
            if value is not None:
                found.setdefault(key, {"type": _type(value)})
    return found


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return type(value).__name__
    if moment(value) is not None:
        return "date"
    return "keyword" if isinstance(value, str | list) else "object"


def _distinct(documents: Metadata, field: str) -> list[Any]:
    path = field.removeprefix("meta.").split(".")
    found: dict[tuple[str, str], Any] = {}
    for metadata in documents:
        value: object = metadata
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                found.setdefault((type(item).__name__, str(item)), item)
    return list(found.values())
