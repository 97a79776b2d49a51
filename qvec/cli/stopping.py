"""Ctrl-C and SIGTERM: the first ends work after the batch in hand, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from qvec.cli.progress import clear_line


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that the first signal sets."""
    event = threading.Event()

    def stop(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        clear_line()
        click.echo("qvec: stops after this batch; once more stops at once", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, known in before.items():
            signal.signal(number, known)
