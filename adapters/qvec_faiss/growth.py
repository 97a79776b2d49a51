"""The graph grows while documents still come in, on a thread of its own, so that a refresh finds most of it built."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from qvec_faiss import ann
from qvec_faiss.ann import Ann
from qvec_faiss.mirror import Ints, Mirror
from qvec_faiss.schema import Connections, Entry

WORTH_IT = 256
"""An upsert of fewer documents does not wake the thread."""

_BLOCK = 512
_SHARE = 16
_EACH = 128  # documents a core adds before it is asked whether a refresh waits: 50 ms at 1024 dims


@dataclass(slots=True)
class _Job:
    """What grows: out of sight of any search until a refresh takes it."""

    index: Ann | None = None
    running: Future[None] | None = None
    is_wanted: bool = True


class Growth:
    """Extends collections' graphs by what was written, read from the store as any other reader would.

    Args:
        connections: to the store.
        mirror_of: gives a collection's mirror, caught up.
        index_of: gives a collection's index as it is searched now, when it has one.
    """

    def __init__(
        self,
        connections: Connections,
        mirror_of: Callable[[Entry], Mirror],
        index_of: Callable[[Entry], Ann | None],
    ) -> None:
        self._connections = connections
        self._mirror_of = mirror_of
        self._index_of = index_of
        self._jobs: dict[int, _Job] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._worker: ThreadPoolExecutor | None = None

    def start(self, entry: Entry) -> None:
        """Go on growing, without waiting for it."""
        if entry.spec.index.kind not in {"hnsw", "auto"}:
            return
        with self._lock:
            job = self._jobs.setdefault(entry.number, _Job())
            if self._closed.is_set() or (job.running is not None and not job.running.done()):
                return
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "qvec-faiss-growth", initializer=_leave_a_core)
            job.running = self._worker.submit(self._run, entry, job)

    def finish(self, entry: Entry) -> Ann | None:
        """Hand over what has grown, once the block in hand is done; None when nothing grew."""
        with self._lock:
            job = self._jobs.pop(entry.number, None)
        if job is None:
            return None
        job.is_wanted = False
        if job.running is not None:
            job.running.result()
        return job.index

    def forget(self, entry: Entry) -> None:
        """Drop what grew for a collection that is no more."""
        with self._lock:
            job = self._jobs.pop(entry.number, None)
            if job is not None:
                job.is_wanted = False

    def close(self) -> None:
        """Stop after the block in hand."""
        self._closed.set()
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)

    def _run(self, entry: Entry, job: _Job) -> None:
        while self._is_wanted(job):
            live = self._mirror_of(entry).live_seqs
            if ann.kind_for(entry.spec, len(live)) != "hnsw":
                return
            if job.index is None:
                current = self._index_of(entry)
                job.index = ann.begin(entry.spec) if current is None else ann.clone(current)
            tail = missing(job.index, live)[: max(_BLOCK, len(live) // _SHARE)]
            if len(tail) < WORTH_IT:
                return
            with self._connections.read() as connection:
                job.index = ann.extend(
                    job.index,
                    connection,
                    entry.number,
                    entry.spec,
                    tail,
                    size=_EACH * _threads(),
                    go_on=partial(self._is_wanted, job),
                )

    def _is_wanted(self, job: _Job) -> bool:
        # At the interpreter's end the main thread stops first, and waits for this one.
        return job.is_wanted and not self._closed.is_set() and threading.main_thread().is_alive()


def _leave_a_core() -> None:
    """Leave a core to those who write; OpenMP keeps the number a thread."""
    ann.faiss().omp_set_num_threads(_threads())


def _threads() -> int:
    return max(1, (os.cpu_count() or 2) - 1)


def missing(index: Ann, live: Ints) -> Ints:
    """List the live documents that are not in the index."""
    return live[np.isin(live, index.seqs, assume_unique=True, invert=True)]
