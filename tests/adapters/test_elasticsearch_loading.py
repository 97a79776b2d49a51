"""Elasticsearch: an index's settings during a load, and that they come back whatever befalls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from qvec_elasticsearch import schema

from qvec.adapter import Adapter
from qvec.errors import InvalidInputError
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

NAME = "loaded"
FAST = {"refresh_interval": "-1", "number_of_replicas": "0", "auto_expand_replicas": "false"}
OWN = {"refresh_interval": "7s", "number_of_replicas": "2", "auto_expand_replicas": "false"}


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    opened = open_adapter(elasticsearch_uri())
    opened.drop_collection(NAME, missing_ok=True)
    opened.create_collection(CollectionSpec(NAME, 2))
    opened._connection.client.indices.put_settings(index=schema.alias_of(NAME), settings=OWN)
    yield opened
    opened.close()
    with open_again() as cleaning:
        cleaning.drop_collection(NAME)


@contextmanager
def open_again() -> Iterator[Adapter]:
    opened = open_adapter(elasticsearch_uri())
    yield opened
    opened.close()


def write(adapter: Adapter, batch: int) -> None:
    documents = [Document(f"d{batch}-{n}", "some words") for n in range(20)]
    adapter.upsert(NAME, documents, np.ones((20, 2), np.float32))


def state(adapter: Adapter) -> tuple[dict[str, object], bool]:
    """The three settings, and whether the index remembers others."""
    client = adapter._connection.client
    [found] = client.indices.get_settings(index=schema.alias_of(NAME)).body.values()
    [described] = client.indices.get_mapping(index=schema.alias_of(NAME)).body.values()
    settings = {key: found["settings"]["index"].get(key) for key in OWN}
    return settings, schema.RESTORE in described["mappings"]["_meta"]


def test_a_load_of_an_empty_collection_runs_without_refresh_and_copies_until_it_ends(adapter: Adapter) -> None:
    write(adapter, 0)
    assert state(adapter) == (OWN, False)
    write(adapter, 1)
    assert state(adapter) == (FAST, True)
    write(adapter, 2)
    adapter.refresh(NAME)
    assert state(adapter) == (OWN, False)
    assert adapter.count(NAME) == 60
    assert adapter.describe_collection(NAME) == CollectionSpec(NAME, 2)


def test_copies_of_what_was_there_before_a_load_are_kept(adapter: Adapter) -> None:
    for batch in range(3):
        write(adapter, batch)
    adapter.refresh(NAME)
    write(adapter, 3)
    write(adapter, 4)
    assert state(adapter) == (OWN | {"refresh_interval": "-1"}, True)
    adapter.refresh(NAME)
    assert state(adapter) == (OWN, False)


def test_a_load_that_failed_is_restored_when_the_connection_is_closed(adapter: Adapter) -> None:
    write(adapter, 0)
    write(adapter, 1)
    with pytest.raises(InvalidInputError):
        adapter.upsert(NAME, [Document("a", "text")], np.ones((1, 3), np.float32))
    adapter.close()
    with open_again() as other:
        assert state(other) == (OWN, False)


@pytest.mark.parametrize("first", ["search", "write", "create"])
def test_a_load_that_was_killed_is_restored_by_who_opens_the_collection_next(adapter: Adapter, first: str) -> None:
    write(adapter, 0)
    write(adapter, 1)
    adapter._connection.close()  # what a killed process does: it says nothing more
    with open_again() as other:
        assert state(other) == (FAST, True)
        if first == "search":
            other.search_lexical(NAME, ["words"], k=1)
        elif first == "write":
            write(other, 2)
        else:
            other.create_collection(CollectionSpec(NAME, 2), exist_ok=True)
        assert state(other) == (OWN, False)


def test_a_second_load_during_another_does_not_take_the_fast_settings_for_the_users(adapter: Adapter) -> None:
    write(adapter, 0)
    with open_again() as other:
        write(other, 1)
        write(adapter, 2)
        write(other, 3)
        write(other, 4)
        adapter.refresh(NAME)
        other.refresh(NAME)
        assert state(other) == (OWN, False)
