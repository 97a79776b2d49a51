"""What the fusion of both legs costs: the legs in turn, at once, in one round trip, and the whole of a search."""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.datasets import Data, make
from qvec.adapter import Adapter, SupportsHybrid
from qvec.collection import Collection
from qvec.fusion import FusionSpec, fuse
from qvec.ranking import WINDOW
from qvec.types import Hit, Vectors

_WORD = re.compile(r"[a-z]{5,}")
_ROUNDS = 60
_WARM = 10
Way = Callable[[str, Vectors], object]


def measure(backend: str, options: argparse.Namespace, opened: Callable[[Data, str], Adapter]) -> dict[str, object]:
    """Ask the same queries, three words each, in every way, one way after the other for each query.

    Args:
        backend: its name.
        options: n, dim and seed.
        opened: fills the collection ``bench`` in a folder and gives the connection.
    """
    data = make(options.n, options.dim, options.seed)
    queries = _queries(data, options.seed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        adapter = opened(data, folder)
        ways = _ways(adapter, pool)
        times: dict[str, list[float]] = {name: [] for name in ways}
        order = random.Random(options.seed)
        for query, vector in zip(queries, data.queries, strict=False):
            for name in order.sample(list(ways), len(ways)):
                started = time.perf_counter()
                ways[name](query, vector[None])
                times[name].append(1000 * (time.perf_counter() - started))
        adapter.close()
    row: dict[str, object] = {"backend": backend, "n": options.n, "dim": options.dim, "k": 10, "depth": WINDOW}
    row |= {f"{name}_p50_ms": float(np.median(spent[_WARM:])) for name, spent in times.items()}
    slower = max(float(np.median(times[leg][_WARM:])) for leg in ("dense", "lexical"))
    row["search_of_slower_leg"] = float(np.median(times["search"][_WARM:])) / slower
    return row


def _ways(adapter: Adapter, pool: ThreadPoolExecutor) -> dict[str, Way]:
    books = Collection(adapter, "bench", executor=pool)

    def dense(_query: str, rows: Vectors) -> list[Hit]:
        return adapter.search_dense("bench", rows, k=WINDOW)[0]

    def lexical(query: str, _rows: Vectors) -> list[Hit]:
        return adapter.search_lexical("bench", [query], k=WINDOW)[0]

    def at_once(query: str, rows: Vectors) -> list[Hit]:
        other = pool.submit(lexical, query, rows)
        near = dense(query, rows)
        return fuse({"lexical": other.result(), "dense": near}, FusionSpec())

    ways: dict[str, Way] = {
        "dense": dense,
        "lexical": lexical,
        "in_turn": lambda query, rows: fuse(
            {"lexical": lexical(query, rows), "dense": dense(query, rows)}, FusionSpec()
        ),
        "at_once": at_once,
        "search": lambda query, rows: books.search(query, vector=rows[0]),
    }
    if isinstance(adapter, SupportsHybrid):
        fusing = adapter
        ways["one_trip"] = lambda query, rows: fusing.search_hybrid(
            "bench", [query], rows, how=FusionSpec(), window=WINDOW, k=10
        )
    return ways


def _queries(data: Data, seed: int) -> list[str]:
    chosen = random.Random(seed)
    texts = [words for document in data.documents if len(words := _WORD.findall(document.text)) >= 3]
    return [" ".join(chosen.sample(words, 3)) for words in chosen.sample(texts, _ROUNDS)]
