"""What the embedding cache promises, in a file and in a real Redis."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.bundled import BundledEmbedder
from qvec.embedders.cache import CacheCounts, CachedEmbedder, open_cache, seal, unseal
from qvec.embedders.cache_file import FILE_NAME, FileCache
from qvec.embedders.cache_store import VectorCache
from qvec.embedders.hashing import HashingEmbedder
from qvec.embedders.instructions import QWEN3_QUERY, Prompts, with_default
from qvec.errors import ConfigError, EmbeddingError, EndpointError
from tests.conftest import required

TEXTS = [f"text number {number}" for number in range(50)]


class Counting(HashingEmbedder):
    """An embedder that notes what it was asked for, and has prompts as Qwen3 has."""

    def __init__(self, *, dim: int = 64, instruction: str | None = None, revision: str = "1") -> None:
        super().__init__(dim=dim)
        self.revision = revision
        self.asked: list[str] = []
        self.prompts = with_default(Prompts(QWEN3_QUERY, task="Find it"), instruction)

    def encode_document(self, texts):
        self.asked += texts
        return super().encode_document(texts)

    def encode_query(self, texts, *, instruction=None):
        prefix = self.prompts.query_prefix(instruction)
        return self.encode_document([prefix + text for text in texts])


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a Redis with a password; skips where the program is missing, unless it is required."""
    program = shutil.which("redis-server")
    if program is None or importlib.util.find_spec("redis") is None:
        reason = "redis-server or the redis package is not installed: apt-get install redis-server"
        if required("redis"):
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    limits = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--requirepass", "sesame"]
    server = subprocess.Popen([program, *options, *limits], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"redis://:sesame@127.0.0.1:{port}/0", server
    finally:
        server.terminate()
        server.wait()


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


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileCache]:
    opened = FileCache(tmp_path)
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


WRITER = """
import sys
import numpy as np
from qvec.embedders.cache import CachedEmbedder, open_cache
from qvec.embedders.hashing import HashingEmbedder
where, seed = sys.argv[1], int(sys.argv[2])
model, cache = HashingEmbedder(dim=64), open_cache(where)
cached = CachedEmbedder(model, cache)
random = np.random.default_rng(seed)
for _ in range(30):
    texts = [f"text number {at}" for at in random.integers(0, 200, 40)]
    assert np.array_equal(cached.encode_document(texts), model.encode_document(texts))
cache.close()
print(cached.counts.hits, cached.counts.misses)
"""


def write_in_processes(where: str, count: int = 4) -> list[tuple[int, int]]:
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, where, str(seed)], stdout=-1, stderr=-1, text=True)
        for seed in range(count)
    ]
    ended = [process.communicate(timeout=120) for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, ended, strict=True)] == [
        (0, "")
    ] * count
    return [(int(out.split()[0]), int(out.split()[1])) for out, _ in ended]


def test_processes_share_one_file(tmp_path):
    counts = write_in_processes(str(tmp_path))
    assert all(hits + misses == 1200 for hits, misses in counts)
    (held,) = sqlite3_row(tmp_path / FILE_NAME, "SELECT count(*) FROM entries")
    assert held == 200


def test_processes_share_one_redis(redis_url):
    assert sum(hits for hits, _ in write_in_processes(redis_url)) > 2400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_uses_the_file_of_its_parent(file):
    cached = CachedEmbedder(Counting(), file)
    cached.encode_document(TEXTS)
    child = os.fork()
    if child == 0:
        model = Counting()
        inherited = CachedEmbedder(model, file)
        inherited.encode_document([*TEXTS, "from the child"])
        os._exit(0 if model.asked == ["from the child"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    model = Counting()
    CachedEmbedder(model, file).encode_document([*TEXTS, "from the child"])
    assert model.asked == []


def test_a_file_keeps_to_its_bound_and_drops_what_was_used_longest_ago(tmp_path):
    now = [0.0]
    cache = FileCache(tmp_path, max_bytes=400_000, clock=lambda: now[0])
    cached = CachedEmbedder(HashingEmbedder(dim=256), cache)
    favourite = ["asked for all the time"]
    for batch in range(40):
        now[0] += 100
        cached.encode_document(favourite)
        cached.encode_document([f"{batch} {number}" for number in range(20)])
    cache.close()
    assert (tmp_path / FILE_NAME).stat().st_size <= 440_000
    again = CachedEmbedder(Counting(dim=256, revision=cached.revision), cache)
    again._maker = cached._maker
    again.encode_document([*favourite, *(f"39 {number}" for number in range(20))])
    assert again.counts == CacheCounts(hits=21)
    again.encode_document([f"0 {number}" for number in range(20)])
    assert again.counts.misses == 20
    cache.close()


def test_a_smaller_bound_makes_the_file_smaller(tmp_path):
    large = FileCache(tmp_path)
    CachedEmbedder(HashingEmbedder(dim=256), large).encode_document([str(number) for number in range(2000)])
    large.close()
    before = (tmp_path / FILE_NAME).stat().st_size
    small = FileCache(tmp_path, max_bytes=200_000)
    CachedEmbedder(HashingEmbedder(dim=256), small).encode_document(["one more"])
    small.close()
    assert (tmp_path / FILE_NAME).stat().st_size < 220_000 < before


def spoil_all(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def spoil_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:-100] = bytes(len(content) - 4196)
    path.write_bytes(content)


def spoil_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 7])


def spoil_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in np.random.default_rng(0).integers(4096, len(content), 400):
        content[at] ^= 1 << int(at) % 8
    path.write_bytes(content)


def spoil_nothing_but_the_vectors(path: Path) -> None:
    held = sqlite3.connect(path)
    held.execute("UPDATE entries SET sealed = substr(sealed, 1, 100) || x'00000000' || substr(sealed, 105)")
    held.commit()
    held.close()


def swap_the_vectors(path: Path) -> None:
    held = sqlite3.connect(path)
    (first, last) = held.execute("SELECT min(id), max(id) FROM entries").fetchone()
    rows = dict(held.execute("SELECT id, sealed FROM entries WHERE id IN (?, ?)", (first, last)).fetchall())
    held.execute("UPDATE entries SET sealed = ? WHERE id = ?", (rows[last], first))
    held.execute("UPDATE entries SET sealed = ? WHERE id = ?", (rows[first], last))
    held.commit()
    held.close()


@pytest.mark.parametrize(
    "spoil",
    [spoil_all, spoil_the_middle, spoil_half, spoil_bits, spoil_nothing_but_the_vectors, swap_the_vectors],
)
def test_a_damaged_file_never_gives_a_wrong_vector_and_warns(tmp_path, caplog, spoil):
    texts = [f"text number {number}" for number in range(400)]
    model = HashingEmbedder(dim=64)
    first = FileCache(tmp_path)
    CachedEmbedder(model, first).encode_document(texts)
    first.close()
    spoil(tmp_path / FILE_NAME)
    cache = FileCache(tmp_path)
    cached = CachedEmbedder(model, cache)
    for _ in range(3):
        np.testing.assert_array_equal(cached.encode_document(texts), model.encode_document(texts))
    assert cached.counts.hits >= 400
    assert "damaged" in caplog.text
    cache.close()


def test_a_file_that_is_spoilt_while_it_is_open_is_begun_again(tmp_path, caplog):
    model = HashingEmbedder(dim=64)
    caches = [FileCache(tmp_path) for _ in range(3)]
    embedders = [CachedEmbedder(model, cache) for cache in caches]
    for embedder in embedders:
        embedder.encode_document(TEXTS)
    for suffix in ("", "-wal", "-shm"):
        path = Path(f"{tmp_path / FILE_NAME}{suffix}")
        if path.exists():
            with path.open("r+b") as handle:
                handle.write(b"\xff" * path.stat().st_size)
    for _ in range(3):
        for embedder in embedders:
            np.testing.assert_array_equal(embedder.encode_document(TEXTS), model.encode_document(TEXTS))
    assert caplog.text.count("beginning it again") <= 1
    for cache in caches:
        cache.close()


def test_a_writer_that_is_killed_leaves_a_good_file(tmp_path):
    code = WRITER.replace("range(30)", "range(100_000)").replace("0, 200", "0, 2_000")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "0"])
    deadline = time.monotonic() + 30
    while not (tmp_path / f"{FILE_NAME}-wal").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.wait()
    write_in_processes(str(tmp_path), 1)
    assert sqlite3_row(tmp_path / FILE_NAME, "PRAGMA integrity_check") == ("ok",)


def test_a_file_of_another_version_is_begun_again(tmp_path):
    held = sqlite3.connect(tmp_path / FILE_NAME)
    held.executescript("CREATE TABLE entries (something TEXT); PRAGMA user_version = 99;")
    held.close()
    cache = FileCache(tmp_path)
    cached = CachedEmbedder(HashingEmbedder(), cache)
    cached.encode_document(TEXTS)
    cached.encode_document(TEXTS)
    assert cached.counts == CacheCounts(50, 50)
    cache.close()


def test_a_file_that_cannot_be_written_costs_a_warning_and_no_vector(tmp_path, caplog):
    (tmp_path / FILE_NAME).mkdir()
    cache = FileCache(tmp_path)
    model = HashingEmbedder()
    cached = CachedEmbedder(model, cache)
    np.testing.assert_array_equal(cached.encode_document(TEXTS), model.encode_document(TEXTS))
    assert "going on without it" in caplog.text


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_cache(tmp_path / "file")


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


def sqlite3_row(path: Path, query: str) -> tuple[object, ...]:
    held = sqlite3.connect(path)
    try:
        return tuple(held.execute(query).fetchone())
    finally:
        held.close()
