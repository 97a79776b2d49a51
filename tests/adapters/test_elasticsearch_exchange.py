"""Elasticsearch: records that are on their way while an alias moves are refused by the index that it leads to then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from qvec_elasticsearch import load, rows, schema
from qvec_elasticsearch.adapter import ElasticsearchAdapter
from qvec_elasticsearch.errors import MovedError

from qvec.testing.base import fresh_name
from qvec.testing.lifecycle import PASSPORT
from qvec.types import CollectionSpec, Document, Passport
from qvec.uri import URI
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

OTHER = replace(PASSPORT, revision="of another model")
LATE = [Document("late", "text")]
VECTORS = np.ones((1, PASSPORT.dim), np.float32)


@pytest.fixture
def adapter() -> Iterator[ElasticsearchAdapter]:
    opened = ElasticsearchAdapter.from_uri(URI.parse(elasticsearch_uri()))
    yield opened
    opened.close()


@pytest.fixture
def pair(adapter: ElasticsearchAdapter) -> Iterator[tuple[str, str]]:
    names = fresh_name(), fresh_name()
    adapter.create_collection(CollectionSpec(names[0], PASSPORT.dim, passport=PASSPORT))
    yield names
    for name in names:
        adapter.drop_collection(name, missing_ok=True)


def unmarked(adapter: ElasticsearchAdapter, name: str, passport: Passport) -> None:
    """Make an index as it was before there were marks."""
    spec = CollectionSpec(name, PASSPORT.dim, passport=passport)
    adapter.create_collection(replace(spec, name=f"{name}_model"))
    with adapter._connection.use() as client:
        [made] = client.indices.get(index=schema.alias_of(f"{name}_model")).body.values()
        settings = {key: made["settings"]["index"][key] for key in ("analysis", "similarity")}
        properties = {key: value for key, value in made["mappings"]["properties"].items() if key != "model"}
        client.indices.create(
            index=f"{schema.alias_of(name)}-000001",
            aliases={schema.alias_of(name): {}},
            settings=settings,
            mappings={**made["mappings"], "properties": properties},
        )
    adapter.drop_collection(f"{name}_model")


def send_late(adapter: ElasticsearchAdapter, name: str, index: schema.Index) -> None:
    """Send a record that was written for an index."""
    lines = rows.operations(LATE, VECTORS, index.spec, mark=index.mark, as_base64=False)
    load.send(adapter._connection, name, lines)


def found(adapter: ElasticsearchAdapter, name: str) -> schema.Index:
    with adapter._connection.use() as client:
        index = schema.find(client, name)
    assert index is not None
    return index


@pytest.mark.parametrize("passport", [OTHER, None], ids=["another model's", "nobody's"])
@pytest.mark.parametrize("was_marked", [True, False], ids=["marked", "from before"])
def test_a_late_record_is_refused_by_the_index_that_took_the_name(
    adapter: ElasticsearchAdapter, pair: tuple[str, str], passport: Passport | None, was_marked: bool
) -> None:
    one, other = pair
    adapter.create_collection(CollectionSpec(other, PASSPORT.dim, passport=passport))
    if not was_marked:
        adapter.drop_collection(one)
        unmarked(adapter, one, PASSPORT)
    before = found(adapter, one)
    send_late(adapter, one, before)
    adapter.exchange(one, other)
    with pytest.raises(MovedError, match="strict"):
        send_late(adapter, one, before)
    send_late(adapter, other, before)
    adapter.refresh(one)
    adapter.refresh(other)
    assert (adapter.count(one), adapter.count(other)) == (0, 1)
    assert adapter.get(other, ["late"]) == LATE


def test_an_index_from_before_the_marks_is_written_to_as_ever(
    adapter: ElasticsearchAdapter, pair: tuple[str, str]
) -> None:
    unmarked(adapter, pair[1], PASSPORT)
    for passport in (PASSPORT, None):
        adapter.upsert(pair[1], LATE, VECTORS, passport=passport)
        assert adapter.get(pair[1], ["late"]) == LATE
