"""Ctrl-C and SIGTERM: the first ends work after the batch in hand, the second at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that the first signal sets."""
    event = threading.Event()

    def stop(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        # On a terminal the cursor stands behind the line of the progress, or behind ^C.
        line = "\r\x1b[K" if sys.stderr.isatty() else ""
        click.echo(f"{line}qvec: stops after this batch; once more stops at once", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, known in before.items():
            signal.signal(number, known)
