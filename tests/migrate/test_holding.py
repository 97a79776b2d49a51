"""Two attaches of one index at once: the second is refused, and one that was killed keeps nobody out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from threading import Event, Thread
from typing import Any

import pytest

import qvec
from qvec.attaching import SupportsAttach
from qvec.migrate import Attached, CopyProgress, IndexJob, MigrationError, attach_index, undo, verify
from qvec.migrate.holding import held
from tests.migrate.collections import ROWS
from tests.migrate.others import other

__all__ = ["other"]


def job(other: Any) -> IndexJob:
    return IndexJob(url=other.address, index=other.name, text=other.text, model="hashing", dim=64)


@pytest.fixture
def attaching(other: Any) -> SupportsAttach:
    """The database of an index that was attached."""
    other.fill()
    attach_index(job(other))
    with qvec.connect(other.address) as database:
        adapter = database.adapter
        assert isinstance(adapter, SupportsAttach)
        yield adapter
        adapter.hold_attach(other.name, "")
        undo(Attached(url=other.address, collection=other.name))


def test_the_second_attach_and_an_undo_meanwhile_are_refused(other: Any) -> None:
    other.fill()
    before = other.held()
    begun, may_go_on = Event(), Event()
    done: list[object] = []

    def wait(_: CopyProgress) -> None:
        begun.set()
        may_go_on.wait(60)

    first = Thread(target=lambda: done.append(attach_index(job(other), progress=wait).embedded))
    first.start()
    assert begun.wait(60)
    shop = Attached(url=other.address, collection=other.name)
    for second in (lambda: attach_index(job(other)), lambda: undo(shop)):
        with pytest.raises(MigrationError, match="at work: wait for it"):
            second()
    may_go_on.set()
    first.join(60)
    assert done == [ROWS]
    assert verify(shop).is_same
    assert attach_index(job(other)).unchanged == ROWS
    undo(shop)
    assert other.held()[0] == before[0]


def test_who_was_killed_keeps_nobody_waiting(other: Any, attaching: SupportsAttach) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note = {"host": socket.gethostname(), "process": ended.pid, "token": "another's", "beat": 7}
    attaching.hold_attach(other.name, json.dumps(note))
    started = time.monotonic()
    with held(attaching, other.name):
        assert time.monotonic() - started < 5
    assert attaching.attach_holder(other.name) == ""


@pytest.mark.slow
def test_who_was_killed_elsewhere_is_known_by_standing_still(other: Any, attaching: SupportsAttach) -> None:
    note = json.dumps({"host": "another", "process": 1, "token": "another's", "beat": 7})
    attaching.hold_attach(other.name, note)
    with held(attaching, other.name):
        assert attaching.attach_holder(other.name) != note


def test_who_is_overtaken_in_the_same_moment_gives_way(other: Any, attaching: SupportsAttach) -> None:
    with held(attaching, other.name) as hold:
        hold.check()
        attaching.hold_attach(other.name, json.dumps({"token": "another's"}))
        with pytest.raises(MigrationError, match="at work"):
            hold.check()
    assert json.loads(attaching.attach_holder(other.name)) == {"token": "another's"}
