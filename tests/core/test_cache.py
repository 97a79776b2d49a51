"""What the embedding cache promises, in a file and in a real Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.bundled import BundledEmbedder
from qvec.embedders.cache import CacheCounts, CachedEmbedder, open_cache, seal, unseal
from qvec.embedders.cache_store import VectorCache
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import ConfigError, EmbeddingError, EndpointError
from tests.core.caches import Counting, redis_server, write_in_processes

TEXTS = [f"text number {number}" for number in range(50)]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as (url, _):
        yield url


@pytest.fixture(params=["file", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorCache]:
    opened = open_cache(tmp_path if request.param == "file" else request.getfixturevalue("redis_url"))
    if request.param == "redis":
        opened._client.flushall()
    yield opened
    opened.close()


def test_what_was_embedded_once_is_not_embedded_again(cache):
    model = Counting()
    cached = CachedEmbedder(model, cache)
    assert isinstance(cached, Embedder)
    first = cached.encode_document(TEXTS)
    again = CachedEmbedder(model, cache).encode_document(TEXTS[::-1])
    np.testing.assert_array_equal(again[::-1], first)
    np.testing.assert_array_equal(first, HashingEmbedder(dim=64).encode_document(TEXTS))
    assert (first.dtype, first.flags.c_contiguous, first.flags.writeable) == (np.float32, True, True)
    assert model.asked == TEXTS


def test_equal_texts_are_embedded_once_and_all_counted(cache):
    model = Counting()
    cached = CachedEmbedder(model, cache)
    cached.encode_document(["a", "b", "a"])
    cached.encode_document(["b", "c"])
    assert model.asked == ["a", "b", "c"]
    assert cached.counts == CacheCounts(hits=1, misses=4)


def test_no_texts_give_no_rows(cache):
    assert CachedEmbedder(Counting(), cache).encode_document([]).shape == (0, 64)


@pytest.mark.parametrize("other", [{"dim": 32}, {"revision": "2"}], ids=str)
def test_another_model_or_dim_finds_nothing(cache, other):
    CachedEmbedder(Counting(), cache).encode_document(TEXTS)
    model = Counting(**other)
    CachedEmbedder(model, cache).encode_document(TEXTS)
    assert model.asked == TEXTS


def test_queries_are_kept_by_role_and_instruction(cache):
    model = Counting()
    cached = CachedEmbedder(model, cache)
    cached.encode_document(["a"])
    for instruction in (None, "code_search", None, "code_search"):
        np.testing.assert_array_equal(
            cached.encode_query(["a"], instruction=instruction),
            Counting().encode_query(["a"], instruction=instruction),
        )
    assert len(model.asked) == 3


def test_another_default_instruction_is_another_query(cache):
    CachedEmbedder(Counting(), cache).encode_query(["a"])
    model = Counting(instruction="code_search")
    CachedEmbedder(model, cache).encode_query(["a"])
    assert len(model.asked) == 1


def test_queries_of_an_embedder_that_tells_no_prompts_are_not_kept(cache):
    first = CachedEmbedder(BundledEmbedder(threads=1), cache)
    second = CachedEmbedder(BundledEmbedder(threads=1, instruction="web_search"), cache)
    assert np.abs(first.encode_query(["read a file"]) - second.encode_query(["read a file"])).max() > 1e-3
    assert second.counts == CacheCounts()


def test_what_is_no_text_is_refused_as_without_a_cache(cache):
    with pytest.raises(EmbeddingError, match="text 1"):
        CachedEmbedder(Counting(), cache).encode_document(["a", "\udc80"])


def test_what_was_embedded_before_a_failure_is_kept(cache):
    texts = [f"{number}" for number in range(2500)]
    model = Counting()
    served = model.encode_document

    def fails_late(asked):
        if len(model.asked) > 2000:
            raise EndpointError("down")
        return served(asked)

    model.encode_document = fails_late
    with pytest.raises(EndpointError):
        CachedEmbedder(model, cache).encode_document(texts)
    fresh = Counting()
    CachedEmbedder(fresh, cache).encode_document(texts)
    assert len(fresh.asked) == 2500 - 2048


def test_threads_share_one_cache(cache):
    model = HashingEmbedder(dim=64)
    cached = CachedEmbedder(model, cache)
    expected = model.encode_document(TEXTS)
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        found = [cached.encode_document([TEXTS[at] for at in order]) for _ in range(5)]
        wrong.extend(seed for rows in found if not np.array_equal(rows, expected[order]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_processes_share_one_redis(redis_url):
    assert sum(hits for hits, _ in write_in_processes(redis_url)) > 2400


def test_a_sealed_vector_is_known_by_its_key_and_dim():
    row = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(unseal(b"k", seal(b"k", row), 4), row)
    assert unseal(b"other", seal(b"k", row), 4) is None
    assert unseal(b"k", seal(b"k", row), 3) is None
    assert unseal(b"k", b"", 4) is None


def test_redis_forgets_what_nobody_asks_for(redis_url):
    cache = open_cache(redis_url)
    CachedEmbedder(Counting(), cache).encode_document(["a"])
    (key,) = [key for key in cache._client.scan_iter() if 0 < cache._client.ttl(key) <= 30 * 24 * 3600][:1]
    assert key.startswith(b"qvec:1:")
    cache.close()


def test_redis_that_goes_away_costs_one_warning_and_no_vector(tmp_path, caplog):
    model = HashingEmbedder()
    with redis_server(tmp_path) as (url, server):
        cache = open_cache(url)
        cached = CachedEmbedder(model, cache)
        cached.encode_document(TEXTS)
        server.kill()
        server.wait()
    for _ in range(3):
        np.testing.assert_array_equal(cached.encode_document(TEXTS), model.encode_document(TEXTS))
    assert caplog.text.count("going on without it") == 1
    cache.close()


def test_redis_that_is_not_there_is_told_without_its_password():
    pytest.importorskip("redis")
    with pytest.raises(ConfigError, match="does not answer") as caught:
        open_cache("redis://:sesame@127.0.0.1:9/0")
    assert "sesame" not in str(caught.value)


def test_the_password_is_never_shown(redis_url, caplog):
    caplog.set_level(logging.DEBUG)
    cache = open_cache(redis_url)
    CachedEmbedder(Counting(), cache).encode_document(["a"])
    assert "sesame" not in repr(cache) + caplog.text
    cache.close()
