"""LlamaIndex's metadata filters, read as qvec's filters with LlamaIndex's meaning.

As in LlamaIndex's own store, ``!=`` and ``nin`` are true of a node that lacks the field, every other comparison is
false of it, and the condition NOT asks that none of its filters be true. A key is one key: a dot in it looks into
nothing. ``ref_doc_id``, ``doc_id`` and ``document_id`` name the document that a node was cut from.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from qvec.errors import FilterError
from qvec.filters import And, Compare, Exists, Field, Filter, Not, Op, Or
from qvec.integrations.llamaindex.nodes import EMPTY, ID, SOURCE
from qvec.where import to_filter

_SOURCE_KEYS = frozenset({"ref_doc_id", "doc_id", "document_id"})
_COMPARISONS = {
    FilterOperator.EQ: Op.EQ,
    FilterOperator.GT: Op.GT,
    FilterOperator.LT: Op.LT,
    FilterOperator.GTE: Op.GE,
    FilterOperator.LTE: Op.LE,
    FilterOperator.IN: Op.IN,
    FilterOperator.CONTAINS: Op.CONTAINS,
}
_OPPOSITES = {FilterOperator.NE: Op.EQ, FilterOperator.NIN: Op.IN}


def from_llamaindex(filters: MetadataFilters | None) -> Filter | None:
    """Read metadata filters, nested ones too.

    Returns:
        None where nothing is asked for.

    Raises:
        FilterError: an operator for which qvec has no word (``text_match``), or a value that it does not take.
    """
    if filters is None or not filters.filters:
        return None
    return to_filter(_join(filters))


def filter_of(query: VectorStoreQuery) -> Filter | None:
    """Read all that a query restricts its answers by: filters, ids of nodes, ids of documents.

    Raises:
        FilterError: as of `from_llamaindex`.
    """
    asked = from_llamaindex(query.filters)
    parts = [] if asked is None else [asked]
    if query.node_ids:  # an index over a store that keeps texts asks with an empty list and means all
        parts.append(Compare(ID, Op.IN, tuple(query.node_ids)))
    if query.doc_ids is not None:
        parts.append(Compare(SOURCE, Op.IN, tuple(query.doc_ids)))
    return And(tuple(parts)) if parts else None


def _join(filters: MetadataFilters) -> Filter:
    parts = tuple(_join(part) if isinstance(part, MetadataFilters) else _compare(part) for part in filters.filters)
    match filters.condition:
        case FilterCondition.OR:
            return Or(parts)
        case FilterCondition.NOT:
            return Not(Or(parts))
        case _:
            return And(parts)


def _compare(filter: MetadataFilter) -> Filter:
    value: Any = filter.value
    field = SOURCE if filter.key in _SOURCE_KEYS else filter.key.replace(".", "\\.")
    if filter.operator is FilterOperator.IS_EMPTY:
        return Or((Not(Exists(field)), Compare(EMPTY, Op.CONTAINS, filter.key)))
    if value is None and filter.operator in {FilterOperator.EQ, FilterOperator.NE}:
        return Exists(field) if filter.operator is FilterOperator.NE else Not(Exists(field))
    if filter.operator in _OPPOSITES:
        return Not(Compare(field, _OPPOSITES[filter.operator], value))
    if filter.operator in _COMPARISONS:
        return Compare(field, _COMPARISONS[filter.operator], value)
    if filter.operator in {FilterOperator.ANY, FilterOperator.ALL}:
        return _lists(field, filter.operator, value)
    raise FilterError(
        f"{filter.key!r} {filter.operator.value}: qvec does not look inside strings of metadata; "
        "search the nodes' texts with the query mode text_search"
    )


def _lists(field: str, operator: FilterOperator, value: Any) -> Filter:
    if not isinstance(value, list):
        raise FilterError(f"{field!r} {operator.value}: takes a list of values, not {value!r}")
    asked = Field(field)
    return (asked.contains_any(value) if operator is FilterOperator.ANY else asked.contains_all(value)).filter
