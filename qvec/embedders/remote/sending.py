"""Many texts to one endpoint: batches in flight at once, split where the server wants less, put back in order."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np

from qvec.embedders.remote.address import KEY
from qvec.embedders.remote.answers import complaint, read_rows
from qvec.embedders.remote.retrying import Retrier
from qvec.embedders.remote.transport import Answer, Transport
from qvec.errors import EmbeddingError, EndpointError
from qvec.types import Vectors

EMBEDDINGS = "/embeddings"
REFUSED = frozenset({400, 413, 422})
TOO_MANY = re.compile(r"batch|too many|at most|exceed|too large|array|payload", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is sent at once.

    Attributes:
        batch_texts: most texts in one request.
        batch_bytes: most UTF-8 bytes in one request; a longer text goes alone. Four bytes are about one token.
        in_flight: most requests under way.
    """

    batch_texts: int = 64
    batch_bytes: int = 128 * 1024
    in_flight: int = 8


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in a request besides the texts, as the server was found to take it."""

    model: str
    base64: bool = True
    dimensions: int | None = None

    def body(self, texts: Sequence[str]) -> dict[str, object]:
        """Write a request."""
        body: dict[str, object] = {"model": self.model, "input": list(texts)}
        body["encoding_format"] = "base64" if self.base64 else "float"
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        return body


@dataclass(slots=True)
class _Call:
    texts: Sequence[str]
    rows: list[Vectors | None]
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, positions: Sequence[int], rows: Vectors) -> None:
        with self.lock:
            for position, row in zip(positions, rows, strict=True):
                self.rows[position] = row
            self.done += len(positions)


class Sender:
    """Embeds texts at an endpoint; remembers the batch size that it turned out to take."""

    def __init__(self, transport: Transport, form: Form, width: int, limits: Limits, retrier: Retrier) -> None:
        self._transport = transport
        self._form = form
        self._width = width
        self._limits = limits
        self._retrier = retrier
        self._most = limits.batch_texts

    @property
    def batch_texts(self) -> int:
        """Texts that go into one request, as far as is known by now."""
        return self._most

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; a batch that failed is sent again alone, the others are kept.

        Returns:
            float32 ``(len(texts), width)`` in the order of `texts`, as the server made them.

        Raises:
            EndpointError: the server gave no vectors; it says how many texts were done.
            EmbeddingError: the server refused a text; the message has its position.
        """
        call = _Call(texts, [None] * len(texts))
        batches = plan(texts, self._most, self._limits.batch_bytes)
        with ThreadPoolExecutor(min(self._limits.in_flight, len(batches)), "qvec-remote") as pool:
            try:
                under_way = [pool.submit(self._send, call, batch) for batch in batches]
                ended = wait(under_way, return_when=FIRST_EXCEPTION).done
            finally:
                call.stop.set()
                pool.shutdown(cancel_futures=True)
        failed = [exc for future in ended if (exc := future.exception()) is not None]
        if failed:
            _raise_told(failed[0], call)
        return np.stack([row for row in call.rows if row is not None])

    def _send(self, call: _Call, positions: Sequence[int]) -> None:
        if len(positions) > self._most:
            self._halves(call, positions)
            return
        body = self._form.body([call.texts[at] for at in positions])
        answer = self._retrier.ask(lambda: self._transport.post(EMBEDDINGS, body), call.stop)
        if answer.status == 200:
            rows = read_rows(answer, len(positions))
            if rows.shape[1] != self._width:
                raise EndpointError(
                    f"the endpoint answered vectors of {rows.shape[1]} components, and of {self._width} before: "
                    "is another model behind the URL now?",
                    status=answer.status,
                )
            call.keep(positions, rows)
        elif answer.status not in REFUSED:
            raise refusal(answer)
        elif len(positions) == 1:
            text = call.texts[positions[0]]
            raise EmbeddingError(
                f"the endpoint refused text {positions[0]} of {len(text.encode())} bytes with HTTP {answer.status}: "
                f"{complaint(answer)}"
            )
        else:
            self._halves(call, positions)
            # Both halves went through, so it was their number and not a text.
            if answer.status == 413 or TOO_MANY.search(complaint(answer)):
                self._most = min(self._most, (len(positions) + 1) // 2)

    def _halves(self, call: _Call, positions: Sequence[int]) -> None:
        half = (len(positions) + 1) // 2
        self._send(call, positions[:half])
        self._send(call, positions[half:])


def plan(texts: Sequence[str], batch_texts: int, batch_bytes: int) -> list[list[int]]:
    """Cut texts into batches of like lengths, so that a server which pads pads little.

    Returns:
        Positions, longest text first.
    """
    sizes = [len(text.encode()) for text in texts]
    batches: list[list[int]] = []
    filled = 0
    for position in sorted(range(len(texts)), key=lambda at: -sizes[at]):
        if batches and len(batches[-1]) < batch_texts and filled + sizes[position] <= batch_bytes:
            batches[-1].append(position)
            filled += sizes[position]
        else:
            batches.append([position])
            filled = sizes[position]
    return batches


def refusal(answer: Answer, *, key: str = KEY) -> EndpointError:
    """Say what to do about an answer that asking again would not change; `key` is the variable that holds the key."""
    said = f"the endpoint answered HTTP {answer.status} ({complaint(answer)})"
    advice = "look into the server's log"
    if answer.status in {401, 403}:
        advice = f"put a key that it takes into the environment variable {key}"
    elif answer.status in {404, 405}:
        advice = "check the URL, which ends in /v1, and the model's name; qvec doctor --endpoint lists the models"
    elif answer.status == 429:
        advice = "the account has no credit left"
    elif 300 <= answer.status < 400:
        advice = f"it moved: write the URL {answer.headers.get('location', 'that it names')}"
    elif answer.status in REFUSED:
        advice = "check the model's name; qvec doctor --endpoint tells what the server takes"
    return EndpointError(f"{said}: {advice}", status=answer.status)


def _raise_told(error: BaseException, call: _Call) -> None:
    if not isinstance(error, EndpointError):
        raise error
    total = len(call.texts)
    said = f"{error}; {call.done} of {total} texts were embedded"
    raise EndpointError(said, status=error.status, done=call.done, total=total) from error
