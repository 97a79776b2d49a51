"""Two collections that trade names: each keeps what it holds, and a second exchange undoes the first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from threading import Event
from time import sleep

import numpy as np
import pytest

from qvec.adapter import Adapter, SupportsExchange
from qvec.errors import CollectionError, CollectionNotFoundError
from qvec.testing.base import Connection, SuiteBase, fresh_name, scan_all
from qvec.testing.lifecycle import PASSPORT
from qvec.types import CollectionSpec, Document, Vector

_WIDE, _NARROW = 12, 5
_EXCHANGES = 12
_PAUSE = 0.002
_MODELS = [replace(PASSPORT, dim=2, revision=f"model {number}") for number in (0, 1)]


class ExchangeTests(SuiteBase):
    """Where the adapter is a `SupportsExchange`."""

    @pytest.fixture
    def pair(self, connection: Connection) -> tuple[str, str]:
        """Make a collection of each of two dims, with one record each and one of the same id."""
        adapter = _exchanging(connection)
        one, other = fresh_name(), fresh_name()
        for name, dim in ((one, _WIDE), (other, _NARROW)):
            passport = replace(PASSPORT, dim=dim, revision=str(dim))
            adapter.create_collection(CollectionSpec(name, dim, passport=passport))
            documents = [Document("both", f"of {dim} words"), Document(str(dim), "single")]
            adapter.upsert(name, documents, np.eye(2, dim, dtype=np.float32))
            adapter.refresh(name)
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

    def test_no_write_lands_in_a_collection_of_another_model(self, connection: Connection) -> None:
        adapter = _exchanging(connection)
        assert isinstance(adapter, SupportsExchange)
        pair = fresh_name(), fresh_name()
        for name, passport in zip(pair, _MODELS, strict=True):
            adapter.create_collection(CollectionSpec(name, 2, passport=passport))
        stopped = Event()
        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(_write, adapter, pair, number, stopped) for number in range(4)]
            try:
                for _ in range(_EXCHANGES):
                    adapter.exchange(*pair)
                    sleep(_PAUSE)
            finally:
                stopped.set()
        taken = [done.result() for done in writing]
        found = dict(_held(adapter, name) for name in pair)
        for number in (0, 1):
            # Who is refused because of an exchange in that moment may have written to the one that it meant.
            assert set(found[number]) >= taken[number] | taken[number + 2]
            assert {vector.argmax() for vector in found[number].values()} == {number}
        for name in pair:
            adapter.drop_collection(name)

    def test_an_exchange_with_nothing_changes_nothing(self, adapter: Adapter, pair: tuple[str, str]) -> None:
        assert isinstance(adapter, SupportsExchange)
        one, other = pair
        adapter.drop_collection(other)
        for names in ((one, other), (other, one)):
            with pytest.raises(CollectionNotFoundError):
                adapter.exchange(*names)
        assert adapter.describe_collection(one).dim == _WIDE
        adapter.drop_collection(one)


def _exchanging(connection: Connection) -> Adapter:
    if not isinstance(connection.adapter, SupportsExchange):
        pytest.skip("declares no exchange")
    return connection.adapter


def _write(adapter: Adapter, pair: tuple[str, str], number: int, stopped: Event) -> set[str]:
    """Write vectors of one model by both names in turn; tell which records were taken."""
    taken = set()
    model = number % 2
    for count, name in enumerate(cycle(pair)):
        if stopped.is_set():
            break
        document = Document(f"{number} {count}", "word")
        try:
            adapter.upsert(name, [document], np.eye(2, dtype=np.float32)[[model]], passport=_MODELS[model])
        except CollectionError:
            continue
        taken.add(document.id)
        sleep(_PAUSE)
    return taken


def _held(adapter: Adapter, name: str) -> tuple[int, dict[str, Vector]]:
    """Read a collection whole, with the number of its model."""
    adapter.refresh(name)
    passport = adapter.describe_collection(name).passport
    assert passport is not None
    return _MODELS.index(passport), adapter.get_vectors(name, [document.id for document in scan_all(adapter, name)])


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
