"""A searcher that never rests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import qvec
from qvec.migrate import Attached, SwapJob, end_swap, layout_of, roll_back, swap, verify


@contextmanager
def searching(address: str, name: str) -> Iterator[list[str]]:
    """Search article 77 all the while, by one connection; the list has the id of each first hit, or what went wrong."""
    found: list[str] = []
    ended = threading.Event()

    def work() -> None:
        with qvec.connect(address) as database:
            articles = database.collection(name)
            while not ended.wait(0.02):
                try:
                    hits = articles.search("article 77 about topic0", k=3, mode="dense" if len(found) % 2 else "hybrid")
                    found.append(hits[0].id if hits else "nothing")
                except qvec.QvecError as exc:
                    found.append(repr(exc))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def found_throughout(job: SwapJob) -> list[str]:
    """Swap, roll back, swap again and end it; returns what a searcher found first all the while."""
    with searching(job.url, job.collection) as found:
        assert swap(job).is_switched
        assert not roll_back(job).is_switched
        assert swap(job).is_switched
        end_swap(job)
        seen = len(found)
        while len(found) < seen + 3:
            time.sleep(0.05)
    assert len(found) > 10
    return found


def is_right(url: str, collection: str) -> bool:
    """Whether every row has the vector of its text."""
    return verify(Attached(url=url, collection=collection)).is_same


def dim_of(url: str, collection: str) -> int:
    """How wide the vectors are that searches use."""
    passport = layout_of(url, collection).passport
    assert passport is not None
    return passport.dim
