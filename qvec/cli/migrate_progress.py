"""How far a migration is, on stderr: a line that changes on a terminal, one now and then elsewhere, or JSON events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from qvec.cli.stopping import stopping

if TYPE_CHECKING:
    from qvec.migrate import CopyProgress

_ON_TERMINAL = 0.2
_JSON = 1.0
_ELSEWHERE = 10.0
_MINUTE, _HOUR = 60, 3600


class Progress:
    """Tells rows done, their rate and the time that is left.

    Args:
        as_json: tell it in JSON, an event a line.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, *, as_json: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._as_json = as_json
        self._terminal = self._stream.isatty() and not as_json
        self._every = _ON_TERMINAL if self._terminal else _JSON if as_json else _ELSEWHERE
        self._began = self._told = self._called = clock()
        self._pass = ("", 0)
        self._shown = False

    def __call__(self, progress: CopyProgress) -> None:
        """Tell, at most every few seconds; in JSON of the first batch as well."""
        now = self._clock()
        step, read = self._pass
        if progress.step != step or progress.read < read:
            # The rows are read again: rate and rest are of this pass alone.
            self._began = self._called
        self._pass, self._called = (progress.step, progress.read), now
        is_first = self._as_json and not self._shown
        if not is_first and not _is_event(progress) and now - self._told < self._every:
            return
        self._told, self._shown = now, True
        line = self._line(progress, progress.read / max(now - self._began, 1e-9))
        self._stream.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._stream.flush()

    def _line(self, progress: CopyProgress, rate: float) -> str:
        left = max(progress.total - progress.read, 0) / max(rate, 1e-9) if progress.total else None
        if self._as_json:
            facts = {"event": "progress", "step": progress.step, "read": progress.read, "total": progress.total}
            return json.dumps({**facts, "rows_per_second": rate, "seconds_left": left})
        if _is_event(progress):
            return progress.step
        rows = f"{progress.read:,} rows" if left is None else f"{progress.read:,} of {progress.total:,} rows"
        said = f"{rows} {progress.step}".rstrip()
        return f"{said}  {rate:,.0f}/s" + ("" if left is None else f"  {span(left)} left")

    def end(self) -> None:
        """Clear the terminal's line."""
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


@contextmanager
def by_batches(*, as_json: bool) -> Iterator[Callable[[CopyProgress], None]]:
    """Give what is called after each batch: it tells how far the work is, and a signal ends the work there."""
    progress = Progress(as_json=as_json)
    with stopping() as event:

        def told(state: CopyProgress) -> None:
            progress(state)
            if event.is_set():
                raise KeyboardInterrupt

        try:
            yield told
        finally:
            progress.end()


def _is_event(progress: CopyProgress) -> bool:
    """Tell whether a step has begun that reads no rows."""
    return not progress.read and progress.total is None


def span(seconds: float) -> str:
    """Write a time in seconds, minutes or hours, whichever says it best."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:,.0f} s"
    return f"{seconds / _MINUTE:,.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:,.1f} h"
