"""Bulk requests of bounded size, sent until each line is written, refused for good, or patience ends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from elastic_transport import ConnectionError as Unreachable
from elastic_transport import ConnectionTimeout, TlsError
from elasticsearch import ApiError

from qvec.errors import PartialWriteError, QvecError
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.errors import DRIVER_ERRORS, TYPES, fault, ours, reason, type_of
from qvec_elasticsearch.schema import alias_of

Answer = TypeVar("Answer")
Line: TypeAlias = tuple[str, bytes]
"""A document's id, and what a bulk request says of it."""

MAX_BYTES = 8 * 2**20
"""Of one request. The server takes 100 MB by default, and is quickest with 5 to 15."""

_BUSY = {429, 502, 503, 504}
_TOO_LARGE = 413


@dataclass(slots=True)
class Patience:
    """How long to try again, and how often: each pause twice the last, and random, so that writers do not keep in step.

    Attributes:
        seconds: from the first failure to the last attempt.
    """

    seconds: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    pause: float = 0.2
    end: float | None = None

    def wait(self) -> bool:
        """Pause; false when patience has ended."""
        now = self.clock()
        if self.end is None:
            self.end = now + self.seconds
        if now >= self.end:
            return False
        self.sleep(min(self.pause * (0.5 + self.chance()), self.end - now))
        self.pause = min(self.pause * 2, 5.0)
        return True


def send(connection: Connection, name: str, lines: Iterable[Line]) -> None:
    """Write lines; each is whole in one request, and a request that was cut off is sent again: ids make that harmless.

    Raises:
        PartialWriteError: the server refused some documents; all others are written.
        CollectionNotFoundError: the collection is not there.
        BackendError: the server could not be reached, was too busy or takes no writes, and patience ended.
    """
    failed: dict[str, str] = {}
    for part in _parts(lines):
        failed.update(_send(connection, name, part))
    if failed:
        raise PartialWriteError(failed)


def patiently(connection: Connection, name: str, call: Callable[[], Answer]) -> Answer:
    """Call until the server answers or patience ends."""
    patience = Patience(connection.patience)
    while True:
        try:
            return call()
        except DRIVER_ERRORS as exc:
            if not _passes(exc) or not patience.wait():
                raise ours(exc, connection.place, name) from exc


def _parts(lines: Iterable[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    size = 0
    for line in lines:
        if part and size + len(line[1]) > MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line[1])
    if part:
        yield part


def _send(connection: Connection, name: str, part: list[Line]) -> dict[str, str]:
    """Send one request until nothing is left to try again; return why documents were refused."""
    patience = Patience(connection.patience)
    failed: dict[str, str] = {}
    while part:
        try:
            items = _ask(connection, name, part)
        except DRIVER_ERRORS as exc:
            if isinstance(exc, ApiError) and exc.meta.status == _TOO_LARGE:
                return failed | _halves(connection, name, part, ours(exc, connection.place))
            if not _passes(exc) or not patience.wait():
                raise ours(exc, connection.place, name) from exc
            continue
        again, refused, last = _judged(part, items, connection.place, name)
        failed.update(refused)
        if again and not patience.wait():
            raise last
        part = again
    return failed


def _ask(connection: Connection, name: str, part: Sequence[Line]) -> Sequence[Mapping[str, Any]]:
    client = connection.opened().options(max_retries=0)
    lines: list[Any] = [line for _, line in part]
    answer = client.bulk(
        index=alias_of(name),
        operations=lines,
        require_alias=True,
        filter_path=["errors", "items.*.status", "items.*.error"],
    )
    return answer["items"] if answer["errors"] else []


def _halves(connection: Connection, name: str, part: list[Line], error: QvecError) -> dict[str, str]:
    if len(part) == 1:
        return {part[0][0]: str(error)}
    middle = len(part) // 2
    return _send(connection, name, part[:middle]) | _send(connection, name, part[middle:])


def _passes(exc: Exception) -> bool:
    """Tell whether an error may pass by itself."""
    if isinstance(exc, ApiError):
        return exc.meta.status in _BUSY
    return isinstance(exc, Unreachable | ConnectionTimeout) and not isinstance(exc, TlsError)


def _judged(
    part: Sequence[Line], items: Sequence[Mapping[str, Any]], place: str, name: str
) -> tuple[list[Line], dict[str, str], QvecError]:
    """Sort out what is to be sent again and what is refused.

    Raises:
        QvecError: what would befall every other document too.
    """
    again: list[Line] = []
    refused: dict[str, str] = {}
    last = QvecError()
    for line, item in zip(part, items, strict=False):
        [outcome] = item.values()
        error, status = outcome.get("error"), outcome["status"]
        if error is None:
            continue
        blocked = type_of(error) == "cluster_block_exception"
        if status in _BUSY and not (blocked and status != 503):
            again.append(line)
            last = fault(error, status, place, name)
        elif blocked or type_of(error) in TYPES:
            raise fault(error, status, place, name)
        else:
            refused[line[0]] = reason(error)
    return again, refused, last
