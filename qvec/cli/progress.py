"""How far an indexing run is, on stderr: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from qvec.pipeline import IndexProgress

_ON_TERMINAL = 0.1
_ELSEWHERE = 10.0


def clear_line() -> None:
    """Take away what a line of progress, or ^C, has left where the terminal's cursor stands."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class Progress:
    """Called by the pipeline; as a context it tidies the terminal's line away."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._started = self._told = clock()
        self._shown = False

    def __call__(self, progress: IndexProgress) -> None:
        now = self._clock()
        if now - self._told < (_ON_TERMINAL if self._terminal else _ELSEWHERE):
            return
        self._told = now
        rate = progress.embedded / max(now - self._started, 1e-9)
        line = f"read {progress.read:,}  embedded {progress.embedded:,}  written {progress.written:,}  {rate:,.0f}/s"
        self._stream.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._stream.flush()
        self._shown = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
