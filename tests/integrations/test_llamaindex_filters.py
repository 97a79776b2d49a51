"""LlamaIndex's filters mean here what they mean in LlamaIndex's own store, or are a typed error."""

from __future__ import annotations

import json

import pytest

from qvec.errors import FilterError
from qvec.filters import matches

pytest.importorskip("llama_index.core")

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from qvec.integrations.llamaindex import QvecVectorStore, from_llamaindex
from qvec.integrations.llamaindex.nodes import to_record

METADATA = {
    "py": {"lang": "py", "stars": 5, "tags": ["a", "b"], "a.b": "x", "note": ""},
    "go": {"lang": "go", "stars": 9.5, "tags": [], "note": "n"},
    "none": {"lang": None, "tags": ["b"]},
}
LEAVES = [
    ("lang", "==", "py"),
    ("lang", "!=", "py"),
    ("stars", ">", 5),
    ("stars", ">=", 5),
    ("stars", "<", 9.5),
    ("stars", "<=", 9.5),
    ("lang", "in", ["py", "rs"]),
    ("lang", "in", []),
    ("lang", "nin", ["py", "rs"]),
    ("tags", "any", ["a", "z"]),
    ("tags", "all", ["a", "b"]),
    ("tags", "contains", "b"),
    ("tags", "is_empty", None),
    ("note", "is_empty", None),
    ("lang", "is_empty", None),
    ("a.b", "==", "x"),
    ("no such key", "!=", "x"),
]


def leaf(key: str, operator: str, value: object) -> MetadataFilter:
    return MetadataFilter(key=key, operator=FilterOperator(operator), value=value)


def found_here(filters: MetadataFilters) -> set[str]:
    filter = from_llamaindex(filters)
    assert filter is not None
    return {name for name, metadata in METADATA.items() if matches(filter, to_record(node(name, metadata)).metadata)}


def found_there(filters: MetadataFilters) -> set[str]:
    ask = build_metadata_filter_fn(lambda name: METADATA[name], filters)
    return {name for name in METADATA if ask(name)}


def node(name: str, metadata: dict) -> TextNode:
    made = TextNode(id_=name, text="text", metadata=json.loads(json.dumps(metadata)))
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"doc {name}")
    return made


@pytest.mark.parametrize("condition", list(FilterCondition))
@pytest.mark.parametrize("first", LEAVES, ids=lambda case: f"{case[0]} {case[1]}")
def test_each_operator_and_condition_agrees_with_llamaindex(condition, first):
    for second in [None, *LEAVES]:
        parts = [leaf(*first), *([leaf(*second)] if second else [])]
        filters = MetadataFilters(filters=parts, condition=condition)
        assert found_here(filters) == found_there(filters), (first, second)


def test_every_database_takes_them_to_mean_the_same(database):
    shelf = QvecVectorStore.connect(database)
    nodes = [node(name, metadata) for name, metadata in METADATA.items()]
    for at, each in enumerate(nodes):
        each.embedding = [1.0, float(at)]
    shelf.add(nodes)
    for condition in FilterCondition:
        for at, case in enumerate(LEAVES):
            parts = [leaf(*case), leaf(*LEAVES[at - 1])]
            filters = MetadataFilters(filters=parts, condition=condition)
            found = shelf.query(VectorStoreQuery([1.0, 1.0], similarity_top_k=9, filters=filters))
            assert set(found.ids) == found_there(filters), (condition, case)


def test_filters_are_nested():
    inner = MetadataFilters(filters=[leaf("lang", "==", "py"), leaf("lang", "==", "go")], condition=FilterCondition.OR)
    outer = MetadataFilters(filters=[inner, leaf("stars", ">", 5)], condition=FilterCondition.AND)
    assert found_here(outer) == {"go"}
    assert found_here(MetadataFilters(filters=[inner], condition=FilterCondition.NOT)) == {"none"}


def test_null_is_asked_for_by_equality():
    assert found_here(MetadataFilters(filters=[leaf("lang", "==", None)])) == {"none"}
    assert found_here(MetadataFilters(filters=[leaf("lang", "!=", None)])) == {"py", "go"}


@pytest.mark.parametrize("key", ["ref_doc_id", "doc_id", "document_id"])
def test_the_document_that_a_node_was_cut_from_can_be_asked_for(key):
    assert found_here(MetadataFilters(filters=[leaf(key, "==", "doc go")])) == {"go"}


def test_no_filters_ask_for_nothing():
    assert from_llamaindex(None) is None
    assert from_llamaindex(MetadataFilters(filters=[])) is None


@pytest.mark.parametrize(
    ("operator", "value"),
    [("text_match", "p"), ("text_match_insensitive", "P"), (">", None), ("in", "py"), ("any", "a"), ("==", ["a"])],
)
def test_what_has_no_meaning_is_refused(operator, value):
    with pytest.raises(FilterError, match="lang"):
        from_llamaindex(MetadataFilters(filters=[leaf("lang", operator, value)]))
