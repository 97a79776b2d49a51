"""Elasticsearch on bad days: a full disk, a busy node, a restart, a foreign index, queries that nobody expects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TypeVar

import numpy as np
import pytest
from qvec_elasticsearch import schema
from qvec_elasticsearch.load import MAX_BYTES, Patience

from qvec.adapter import Adapter
from qvec.errors import (
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    PartialWriteError,
    UnsupportedError,
)
from qvec.filters import And, Compare, Exists, Filter, Not, Op
from qvec.registry import open_adapter
from qvec.testing.lexical import agree
from qvec.types import CollectionSpec, Document
from tests.adapters.elasticsearch_secured import Secured, secured_node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

Answer = TypeVar("Answer")
WORDS = ["zq" + "".join(letters) for letters in product("abcdefghij", repeat=5)]


@pytest.fixture(scope="module")
def secured() -> Secured:
    return secured_node()


@pytest.fixture(scope="module")
def adapter(secured: Secured) -> Iterator[Adapter]:
    opened = open_adapter(secured.uri())
    yield opened
    opened.close()


@pytest.fixture
def name(adapter: Adapter) -> Iterator[str]:
    adapter.drop_collection("days", missing_ok=True)
    adapter.create_collection(CollectionSpec("days", 2))
    yield "days"
    adapter.drop_collection("days", missing_ok=True)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 2)).astype(np.float32)


def settings(adapter: Adapter, name: str, **given: object) -> None:
    with adapter._connection.use() as client:
        client.indices.put_settings(index=f"qvec_{name}", settings=given)


def refusal(adapter: Adapter, name: str) -> str:
    """What the server says to a write that it refuses; empty when it takes it."""
    try:
        adapter.upsert(name, [Document("b", "a late one")], rows(1))
    except BackendError as exc:
        return str(exc)
    return ""


def waited(ask: Callable[[], Answer]) -> Answer:
    """Ask until the answer is true."""
    end = time.monotonic() + 300
    while not (answer := ask()):
        assert time.monotonic() < end, "nothing happened in five minutes"
        time.sleep(0.5)
    return answer


def rejected(adapter: Adapter) -> int:
    """How many writes the node has turned away."""
    with adapter._connection.use() as client:
        stats = client.nodes.stats(metric="thread_pool")
    return sum(node["thread_pool"]["write"]["rejected"] for node in stats["nodes"].values())


def test_pauses_grow_vary_and_end_with_patience() -> None:
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    chances = iter([0.0, 1.0] * 50)
    patience = Patience(10.0, sleep=sleep, clock=lambda: now[0], chance=lambda: next(chances))
    while patience.wait():
        pass
    assert sum(pauses) == pytest.approx(10.0)
    assert pauses[:3] == pytest.approx([0.1, 0.6, 0.4])
    assert max(pauses) <= 7.5


@pytest.mark.server
class TestWrites:
    """What may befall a write."""

    def test_an_index_that_is_not_ours_is_neither_listed_nor_taken_nor_changed(self, adapter: Adapter) -> None:
        with adapter._connection.use() as client:
            client.indices.create(index="qvec_theirs", mappings={"properties": {"vector": {"type": "keyword"}}})
        try:
            assert "theirs" not in adapter.list_collections()
            for exist_ok in (True, False):
                with pytest.raises(CollectionExistsError, match="not qvec's"):
                    adapter.create_collection(CollectionSpec("theirs", 2), exist_ok=exist_ok)
            for call in (adapter.drop_collection, adapter.describe_collection):
                with pytest.raises(CollectionExistsError, match="not qvec's"):
                    call("theirs")
            with pytest.raises(CollectionExistsError, match="not qvec's"):
                adapter.upsert("theirs", [Document("a", "text")], rows(1))
        finally:
            with adapter._connection.use() as client:
                assert client.count(index="qvec_theirs")["count"] == 0
                client.indices.delete(index="qvec_theirs")

    @pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
    def test_an_index_without_room_says_so_at_once(self, adapter: Adapter, name: str, block: str) -> None:
        settings(adapter, name, **{f"index.blocks.{block}": True})
        started = time.monotonic()
        with pytest.raises(BackendError, match="free disk space"):
            adapter.upsert(name, [Document("a", "text")], rows(1))
        assert time.monotonic() - started < 100
        settings(adapter, name, **{f"index.blocks.{block}": None})
        adapter.upsert(name, [Document("a", "text")], rows(1))
        adapter.refresh(name)
        assert adapter.count(name) == 1

    def test_a_disk_past_its_flood_stage_takes_no_writes_still_answers_and_recovers(
        self, secured: Secured, name: str
    ) -> None:
        """The node itself puts the block on and takes it off, at its next look at the disk."""
        opened = open_adapter(secured.uri())
        opened.upsert(name, [Document("a", "before the flood")], rows(1))
        opened.refresh(name)
        watermark = "cluster.routing.allocation.disk"
        flood = {f"{watermark}.watermark.{stage}": "999999gb" for stage in ("low", "high", "flood_stage")}
        flood |= {f"{watermark}.threshold_enabled": "true", "cluster.info.update.interval": "10s"}
        client = opened._connection.client
        client.cluster.put_settings(persistent=flood)
        try:
            said = waited(lambda: refusal(opened, name))
            assert "free disk space" in said
            assert [hit.id for hit in opened.search_lexical(name, ["flood"], k=5)[0]] == ["a"]
        finally:
            client.cluster.put_settings(persistent={key: "false" if "threshold" in key else None for key in flood})
        waited(lambda: not refusal(opened, name))
        opened.refresh(name)
        assert [hit.id for hit in opened.search_lexical(name, ["late"], k=5)[0]] == ["b"]
        opened.close()

    def test_what_is_too_large_for_the_server_is_halved_until_it_fits(self, adapter: Adapter, name: str) -> None:
        documents = [Document(f"d{n}", "some words " * 50_000) for n in range(12)]
        assert sum(len(document.text) for document in documents) * 2 > MAX_BYTES
        too_large = Document("too large", "x " * 2_500_000)
        with pytest.raises(PartialWriteError, match="max_content_length") as caught:
            adapter.upsert(name, [*documents[:5], too_large, *documents[5:]], rows(13))
        assert list(caught.value.failed) == ["too large"]
        adapter.refresh(name)
        assert adapter.count(name) == len(documents)

    def test_a_vector_that_the_server_refuses_is_named_and_the_others_are_written(
        self, adapter: Adapter, name: str
    ) -> None:
        vectors = rows(3)
        vectors[1] = 3e38
        with pytest.raises(PartialWriteError, match="magnitude") as caught:
            adapter.upsert(name, [Document(f"d{n}", "text") for n in range(3)], vectors)
        assert list(caught.value.failed) == ["d1"]
        adapter.refresh(name)
        assert adapter.count(name) == 2

    def test_a_collection_dropped_elsewhere_is_not_made_again_by_a_write(
        self, secured: Secured, adapter: Adapter, name: str
    ) -> None:
        other = open_adapter(secured.uri())
        adapter.get(name, ["a"])
        other.drop_collection(name)
        for call in (
            lambda: adapter.delete(name, ["a"]),
            lambda: adapter.upsert(name, [Document("a", "text")], rows(1)),
            lambda: adapter.search_lexical(name, ["text"], k=1),
        ):
            with pytest.raises(CollectionNotFoundError, match=name):
                call()
        assert name not in other.list_collections()
        other.create_collection(CollectionSpec(name, 3))
        adapter.upsert(name, [Document("a", "text")], np.ones((1, 3), np.float32))
        adapter.refresh(name)
        assert len(adapter.search_dense(name, np.ones((1, 3), np.float32), k=1)[0]) == 1
        other.close()

    def test_a_long_string_is_kept_ordered_and_found(self, adapter: Adapter, name: str) -> None:
        long = "读" * 20_000
        adapter.upsert(name, [Document("a", long, {"long": long}), Document("b", "x", {"long": "x"})], rows(2))
        adapter.refresh(name)
        for op, value in ((Op.EQ, long), (Op.GT, "y"), (Op.STARTS_WITH, "读")):
            [hits] = adapter.search_dense(name, rows(1), k=9, filter=Compare("long", op, value))
            assert [hit.id for hit in hits] == ["a"]
        with pytest.raises(UnsupportedError, match="bytes"):
            adapter.count(name, filter=Compare("long", Op.GT, long))

    def test_a_server_with_its_hands_full_is_asked_again_until_all_is_written(
        self, adapter: Adapter, name: str
    ) -> None:
        before = rejected(adapter)
        documents = [Document(f"d{n:05}", f"some words and number {n} " * 20) for n in range(4000)]
        vectors = rows(len(documents))

        def write(start: int) -> None:
            adapter.upsert(name, documents[start : start + 100], vectors[start : start + 100])

        for _ in range(10):
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(write, range(0, len(documents), 100)))
            if rejected(adapter) > before:
                break
        adapter.refresh(name)
        assert adapter.count(name) == len(documents)
        assert rejected(adapter) > before

    @pytest.mark.slow
    def test_a_restart_in_the_middle_of_a_load_loses_nothing_and_writes_nothing_twice(
        self, secured: Secured, adapter: Adapter, name: str
    ) -> None:
        documents = [Document(f"d{n:05}", f"number {n}") for n in range(3000)]
        vectors = rows(len(documents))

        def restart() -> None:
            secured.node.stop()
            secured.node.start()

        restarting = threading.Thread(target=restart)
        for start in range(0, len(documents), 50):
            if start == 500:
                restarting.start()
            adapter.upsert(name, documents[start : start + 50], vectors[start : start + 50])
        restarting.join()
        with adapter._connection.use() as client:
            assert schema.find(client, name).restore
        adapter.refresh(name)
        with adapter._connection.use() as client:
            assert not schema.find(client, name).restore
        assert adapter.count(name) == len(documents)
        found = [document for batch in adapter.scan(name) for document in batch.documents]
        assert sorted(found, key=lambda document: document.id) == documents


@pytest.mark.server
class TestQueries:
    """Queries that nobody expects."""

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, adapter: Adapter) -> Iterator[str]:
        adapter.create_collection(CollectionSpec("queried", 2), exist_ok=True)
        texts = ["读取文件", "读", "zqaaaaa zqaaaac zqjjjjj", "🚀 rocket", "x" * 5000, " ".join(WORDS[:25_000])]
        documents = [Document(f"d{n}", text) for n, text in enumerate(texts)]
        adapter.upsert("queried", documents, rows(len(documents)))
        adapter.refresh("queried")
        yield "queried"
        adapter.drop_collection("queried")

    @pytest.mark.parametrize("count", [10_000, 30_000])
    def test_a_query_of_thousands_of_words_is_answered_as_the_reference_does(
        self, adapter: Adapter, filled: str, count: int
    ) -> None:
        """No node with this heap takes 25,000 clauses in one query."""
        stored = [document for batch in adapter.scan(filled) for document in batch.documents]
        agree(adapter, filled, stored, [" ".join(WORDS[:count]), "读取"])

    @pytest.mark.parametrize("query", ["?!… ,;", "🚀", "'\"{}[]()*", "\u200d"])
    def test_punctuation_and_emoji_alone_find_nothing(self, adapter: Adapter, filled: str, query: str) -> None:
        assert adapter.search_lexical(filled, [query], k=5) == [[]]

    def test_one_chinese_character_finds_itself(self, adapter: Adapter, filled: str) -> None:
        assert [hit.id for hit in adapter.search_lexical(filled, ["读"], k=5)[0]] == ["d1"]

    def test_a_word_of_thousands_of_letters_finds_itself(self, adapter: Adapter, filled: str) -> None:
        assert [hit.id for hit in adapter.search_lexical(filled, ["x" * 5000], k=5)[0]] == ["d4"]
        assert adapter.search_lexical(filled, ["x" * 4999], k=5) == [[]]

    def test_a_window_beyond_ten_thousand_is_refused_with_the_limit(self, adapter: Adapter, filled: str) -> None:
        with pytest.raises(UnsupportedError, match="10000"):
            adapter.search_dense(filled, rows(1), k=10, offset=9_995)

    def test_filters_forty_levels_deep_are_refused_with_the_setting(self, adapter: Adapter, filled: str) -> None:
        filter: Filter = Compare("missing", Op.EQ, 1)
        for _ in range(20):
            filter = Not(And((filter, Exists("missing"))))
        with pytest.raises(UnsupportedError, match="max_nested_depth"):
            adapter.count(filled, filter=filter)
