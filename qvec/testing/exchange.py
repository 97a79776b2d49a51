"""Two collections that trade names: each keeps what it holds, and a second exchange undoes the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qvec.adapter import Adapter, SupportsExchange
from qvec.errors import CollectionNotFoundError
from qvec.testing.base import Connection, SuiteBase, fresh_name, scan_all
from qvec.testing.lifecycle import PASSPORT
from qvec.types import CollectionSpec, Document

_WIDE, _NARROW = 12, 5


class ExchangeTests(SuiteBase):
    """Where the adapter is a `SupportsExchange`."""

    @pytest.fixture
    def pair(self, connection: Connection) -> tuple[str, str]:
        """Make a collection of each of two dims, with one record each and one of the same id."""
        if not isinstance(connection.adapter, SupportsExchange):
            pytest.skip("declares no exchange")
        one, other = fresh_name(), fresh_name()
        for name, dim in ((one, _WIDE), (other, _NARROW)):
            passport = replace(PASSPORT, dim=dim, revision=str(dim))
            connection.adapter.create_collection(CollectionSpec(name, dim, passport=passport))
            documents = [Document("both", f"of {dim} words"), Document(str(dim), "single")]
            connection.adapter.upsert(name, documents, np.eye(2, dim, dtype=np.float32))
            connection.adapter.refresh(name)
        return one, other

    def test_two_collections_trade_names_and_trade_them_back(
        self, adapter: Adapter, connection: Connection, pair: tuple[str, str]
    ) -> None:
        assert isinstance(adapter, SupportsExchange)
        one, other = pair
        assert _dims(adapter, pair) == [_WIDE, _NARROW]
        assert adapter.exchange_steps(one, other)
        adapter.exchange(one, other)
        assert _dims(adapter, pair) == [_NARROW, _WIDE]
        assert {one, other} <= set(adapter.list_collections())
        adapter.exchange(one, other)
        assert _dims(adapter, pair) == [_WIDE, _NARROW]
        adapter.exchange(one, other)
        again = connection.reopen() if adapter.capabilities.persistent else adapter
        assert _dims(again, pair) == [_NARROW, _WIDE]
        for name in pair:
            again.drop_collection(name)
        assert not {one, other} & set(again.list_collections())

    def test_writes_after_an_exchange_go_by_the_new_names(self, adapter: Adapter, pair: tuple[str, str]) -> None:
        assert isinstance(adapter, SupportsExchange)
        one, other = pair
        adapter.exchange(one, other)
        adapter.upsert(one, [Document("later", "row")], np.ones((1, _NARROW), np.float32))
        adapter.delete(one, ["both"])
        adapter.refresh(one)
        assert {document.id for document in scan_all(adapter, one)} == {str(_NARROW), "later"}
        assert {document.id for document in scan_all(adapter, other)} == {str(_WIDE), "both"}
        if adapter.capabilities.lexical:
            assert [hit.id for hit in adapter.search_lexical(one, ["row"], k=3)[0]] == ["later"]
        adapter.drop_collection(one)
        adapter.create_collection(CollectionSpec(one, 3))
        assert adapter.count(one) == 0
        adapter.drop_collection(one)
        adapter.drop_collection(other)

    def test_an_exchange_with_nothing_changes_nothing(self, adapter: Adapter, pair: tuple[str, str]) -> None:
        assert isinstance(adapter, SupportsExchange)
        one, other = pair
        adapter.drop_collection(other)
        for names in ((one, other), (other, one)):
            with pytest.raises(CollectionNotFoundError):
                adapter.exchange(*names)
        assert adapter.describe_collection(one).dim == _WIDE
        adapter.drop_collection(one)


def _dims(adapter: Adapter, names: tuple[str, str]) -> list[int]:
    """Read the dims of two collections, each way there is, and check that all agree."""
    found = []
    for name in names:
        spec = adapter.describe_collection(name)
        assert (spec.name, spec.passport and spec.passport.revision) == (name, str(spec.dim))
        assert {document.id for document in scan_all(adapter, name)} == {"both", str(spec.dim)}
        assert adapter.get(name, ["both"])[0].text == f"of {spec.dim} words"
        [hits] = adapter.search_dense(name, np.eye(1, spec.dim, dtype=np.float32), k=5)
        assert hits[0].id == "both"
        if adapter.capabilities.lexical:
            assert [hit.id for hit in adapter.search_lexical(name, ["single"], k=3)[0]] == [str(spec.dim)]
        found.append(spec.dim)
    return found
