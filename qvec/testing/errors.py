"""What is not there is a typed error on every method, and an unusable name never reaches the database."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.filters import Compare, Op
from qvec.testing.base import SuiteBase, fill, make
from qvec.testing.corpus import DIM, query_vectors
from qvec.types import CollectionSpec, Document

_ONE = np.ones((1, DIM), dtype=np.float32)
_ANY = Compare("a", Op.EQ, 1)
CALLS: dict[str, Callable[[Adapter, str], object]] = {
    "describe_collection": lambda adapter, name: adapter.describe_collection(name),
    "drop_collection": lambda adapter, name: adapter.drop_collection(name),
    "upsert": lambda adapter, name: adapter.upsert(name, [Document("a", "text")], _ONE),
    "upsert of nothing": lambda adapter, name: adapter.upsert(name, [], _ONE[:0]),
    "delete": lambda adapter, name: adapter.delete(name, ["a"]),
    "delete of nothing": lambda adapter, name: adapter.delete(name, []),
    "refresh": lambda adapter, name: adapter.refresh(name),
    "get": lambda adapter, name: adapter.get(name, ["a"]),
    "get of nothing": lambda adapter, name: adapter.get(name, []),
    "digests": lambda adapter, name: adapter.digests(name, ["a"]),
    "scan": lambda adapter, name: list(adapter.scan(name)),
    "scan with a filter": lambda adapter, name: list(adapter.scan(name, filter=_ANY, vectors=True)),
    "count": lambda adapter, name: adapter.count(name),
    "count with a filter": lambda adapter, name: adapter.count(name, filter=_ANY),
    "search_dense": lambda adapter, name: adapter.search_dense(name, query_vectors(1), k=3),
    "search_lexical": lambda adapter, name: adapter.search_lexical(name, ["text"], k=3),
}
BAD_NAMES = ("", "a b", "x" * 49, "1st", "it's", "a-b", "x;DROP TABLE y", "读取", 'a"b', "../up", "a.b", "nul\0")


class ErrorTests(SuiteBase):
    """Typed errors."""

    @pytest.mark.parametrize("call", CALLS)
    def test_a_missing_collection_is_said_by_name(self, adapter: Adapter, name: str, call: str) -> None:
        if call == "search_lexical" and not adapter.capabilities.lexical:
            pytest.skip("declares no keyword leg in its capabilities")
        with pytest.raises(CollectionNotFoundError, match=name):
            CALLS[call](adapter, name)

    @pytest.mark.parametrize("call", CALLS)
    def test_a_dropped_collection_is_missing(self, adapter: Adapter, name: str, call: str) -> None:
        if call == "search_lexical" and not adapter.capabilities.lexical:
            pytest.skip("declares no keyword leg in its capabilities")
        make(adapter, name)
        fill(adapter, name, [Document("a", "text")])
        adapter.search_dense(name, query_vectors(1), k=1)
        adapter.drop_collection(name)
        with pytest.raises(CollectionNotFoundError, match=name):
            CALLS[call](adapter, name)

    @pytest.mark.parametrize("bad", BAD_NAMES)
    def test_a_name_that_not_every_database_takes_is_refused(self, adapter: Adapter, bad: str) -> None:
        before = adapter.list_collections()
        with pytest.raises(InvalidInputError):
            adapter.create_collection(CollectionSpec(bad, DIM))
        assert adapter.list_collections() == before

    @pytest.mark.parametrize("dim", [0, -1])
    def test_a_dim_below_one_is_refused(self, adapter: Adapter, name: str, dim: int) -> None:
        with pytest.raises(InvalidInputError):
            adapter.create_collection(CollectionSpec(name, dim))
        assert name not in adapter.list_collections()
