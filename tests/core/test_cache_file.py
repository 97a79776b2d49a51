"""The cache in a file: shared by processes, bounded, and never wrong however the file is damaged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qvec.embedders.cache import CacheCounts, CachedEmbedder, open_cache
from qvec.embedders.cache_file import FILE_NAME, FileCache
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import ConfigError
from tests.core.caches import WRITER, Counting, sqlite3_row, write_in_processes

TEXTS = [f"text number {number}" for number in range(50)]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileCache]:
    opened = FileCache(tmp_path)
    yield opened
    opened.close()


def test_processes_share_one_file(tmp_path):
    counts = write_in_processes(str(tmp_path))
    assert all(hits + misses == 1200 for hits, misses in counts)
    (held,) = sqlite3_row(tmp_path / FILE_NAME, "SELECT count(*) FROM entries")
    assert held == 200


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
    while not (tmp_path / f"{FILE_NAME}-wal").exists():
        assert process.poll() is None
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
