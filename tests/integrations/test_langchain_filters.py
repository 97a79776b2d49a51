"""LangChain's operator dicts mean what they say; what has no meaning here is a typed error."""

from __future__ import annotations

import pytest

from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import FilterError
from qvec.filters import Field, matches

pytest.importorskip("langchain_core")

from qvec.integrations.langchain import QvecVectorStore, from_langchain

RECORDS = {
    "py": {"lang": "py", "stars": 5, "tags": ["a", "b"], "on": "2024-01-01", "deep": {"x": 1}},
    "go": {"lang": "go", "stars": 9, "tags": [], "on": "2025-01-01"},
    "none": {"lang": None, "flag": True},
}

CASES = [
    (None, {"py", "go", "none"}),
    ({}, {"py", "go", "none"}),
    ({"lang": "py"}, {"py"}),
    ({"lang": {"$eq": "go"}}, {"go"}),
    ({"lang": None}, {"none"}),
    ({"lang": {"$ne": None}}, {"py", "go"}),
    ({"lang": {"$ne": "py"}}, {"go"}),
    ({"stars": {"$gt": 5}}, {"go"}),
    ({"stars": {"$gte": 5, "$lt": 9}}, {"py"}),
    ({"stars": {"$lte": 5}}, {"py"}),
    ({"stars": {"$between": (5, 9)}}, {"py", "go"}),
    ({"stars": {"$in": [9, 1]}}, {"go"}),
    ({"stars": {"$nin": [9, 1]}}, {"py"}),
    ({"stars": {"$in": []}}, set()),
    ({"lang": "py", "stars": 9}, set()),
    ({"stars": {"$exists": True}}, {"py", "go"}),
    ({"stars": {"$exists": False}}, {"none"}),
    ({"lang": {"$like": "p%"}}, {"py"}),
    ({"lang": {"$like": "go"}}, {"go"}),
    ({"tags": {"$contains": "a"}}, {"py"}),
    ({"deep.x": 1}, {"py"}),
    ({"flag": True}, {"none"}),
    ({"on": {"$gte": "2025-01-01"}}, {"go"}),
    ({"$and": [{"lang": "py"}, {"stars": 5}]}, {"py"}),
    ({"$or": [{"lang": "py"}, {"stars": 9}]}, {"py", "go"}),
    ({"$or": []}, set()),
    ({"$not": {"lang": "py"}}, {"go", "none"}),
    ({"$not": [{"lang": "py"}, {"lang": "go"}]}, {"none"}),
    ({"stars": {"$not": {"$gt": 5}}}, {"py", "none"}),
    ({"$and": [{"$or": [{"lang": "py"}, {"lang": "go"}]}, {"$not": {"stars": {"$lt": 9}}}]}, {"go"}),
    ("lang = 'py' or stars > 8", {"py", "go"}),
    (Field("stars") > 5, {"go"}),
]


def matching(filter: object) -> set[str]:
    found = from_langchain(filter)
    return {name for name, metadata in RECORDS.items() if found is None or matches(found, metadata)}


@pytest.mark.parametrize(("filter", "expected"), CASES)
def test_a_filter_matches_what_it_says(filter, expected):
    assert matching(filter) == expected


def test_every_database_takes_a_filter_to_mean_the_same(database):
    shelf = QvecVectorStore.connect(database, embedding=HashingEmbedder(dim=16))
    shelf.add_texts(list(RECORDS), list(RECORDS.values()), ids=list(RECORDS))
    for filter, expected in CASES:
        found = shelf.similarity_search("py", k=9, filter=filter)
        assert {document.id for document in found} == expected, filter


@pytest.mark.parametrize(
    "filter",
    [
        {"lang": {"$regex": "p.*"}},
        {"lang": {"$ilike": "P%"}},
        {"lang": {"$like": "%y"}},
        {"lang": {"$like": "p_"}},
        {"lang": {"$like": 3}},
        {"lang": {}},
        {"lang": ["py", "go"]},
        {"lang": {"gt": 1}},
        {"lang": {"$gt": None}},
        {"lang": {"$in": "py"}},
        {"lang": {"$in": [None]}},
        {"lang": {"$exists": 1}},
        {"lang": {"$between": [1]}},
        {"lang": {"$eq": {"a": 1}}},
        {"$nor": [{"lang": "py"}]},
        {"$and": {"lang": "py"}},
        {"$or": [{}]},
        {"$or": ["lang"]},
        {1: 2},
        lambda document: True,
        ["lang"],
    ],
)
def test_what_has_no_meaning_is_refused(filter):
    with pytest.raises(FilterError):
        from_langchain(filter)


def test_a_filter_without_end_is_refused():
    endless: dict = {"lang": "py"}
    for _ in range(5000):
        endless = {"$not": endless}
    with pytest.raises(FilterError, match="deep"):
        from_langchain(endless)
