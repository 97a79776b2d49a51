"""One attach of an index at a time, on whatever machine: who is at work on it says so in the index, time and again.

A database that has no locks of its own keeps the note of one that was killed. So a note counts while it changes: one
that stands still is nobody's, and where it names a process of this machine that is gone nobody has to wait for that.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from qvec.attaching import SupportsAttach
from qvec.errors import QvecError
from qvec.migrate.errors import MigrationError

_BEAT = 2.0
_STILL = 12.0
_LOOK = 0.25


class Hold:
    """Who is at work on an index: this object, until it is let go.

    Args:
        attaching: the database.
        index: its name.
    """

    def __init__(self, attaching: SupportsAttach, index: str) -> None:
        self._attaching = attaching
        self._index = index
        self._token = uuid.uuid4().hex
        self._beats = 0
        self._is_lost = False
        self._ended = Event()
        self._thread = Thread(target=self._go_on, name=f"qvec-hold-{index}", daemon=True)

    def take(self) -> None:
        """Take the index, or wait until who has it shows that it lives.

        Raises:
            MigrationError: another one is at work on it.
        """
        held = self._attaching.attach_holder(self._index)
        if held and self._is_changing(held):
            raise self._refusal()
        self._note()
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Look whether another one took it at the same moment.

        Raises:
            MigrationError: that is so; the other one goes on.
        """
        if self._is_lost or not self._is_noted():
            self._is_lost = True
            raise self._refusal()

    def let_go(self) -> None:
        """Leave the index to others."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            if not self._is_lost and self._is_noted():
                self._attaching.hold_attach(self._index, "")
        except QvecError:
            # The database is gone, or the index is: a note that stands still holds nobody up for long.
            return

    def _go_on(self) -> None:
        while not self._ended.wait(_BEAT):
            try:
                if not self._is_noted():
                    self._is_lost = True
                    return
                self._note()
            except QvecError:
                # The work itself will say so, or goes on when the database is back.
                continue

    def _note(self) -> None:
        self._beats += 1
        note = {"host": socket.gethostname(), "process": os.getpid(), "token": self._token, "beat": self._beats}
        self._attaching.hold_attach(self._index, json.dumps(note))

    def _is_noted(self) -> bool:
        return _read(self._attaching.attach_holder(self._index)).get("token") == self._token

    def _is_changing(self, held: str) -> bool:
        deadline = time.monotonic() + _STILL
        while time.monotonic() < deadline and not _is_gone(held):
            time.sleep(_LOOK)
            now = self._attaching.attach_holder(self._index)
            if now != held:
                return bool(now)
        return False

    def _refusal(self) -> MigrationError:
        return MigrationError(f"another attach, swap or undo of {self._index!r} is at work: wait for it")


@contextmanager
def held(attaching: SupportsAttach, index: str) -> Iterator[Hold]:
    """Keep others from attaching an index, or from undoing that, meanwhile.

    Raises:
        MigrationError: another one is at work on it.
    """
    hold = Hold(attaching, index)
    try:
        hold.take()
        yield hold
    finally:
        hold.let_go()


def _read(held: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(held) if held else {}
    return found


def _is_gone(held: str) -> bool:
    """Tell that the process was one of this machine, and has ended."""
    note = _read(held)
    if note.get("host") != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(str(note["process"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
