"""A searcher that never rests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import qvec


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
