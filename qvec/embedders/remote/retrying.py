"""Asking again: which failures pass by themselves, how long to wait, and when to give up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from qvec.embedders.remote.answers import complaint
from qvec.embedders.remote.transport import Answer
from qvec.errors import EndpointError

# 408 and 425 ask for another try; 424 is what TEI answers when its backend failed.
_TRANSIENT = frozenset({408, 424, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_OVERLOADED = frozenset({429, 503})
# OpenAI's answer when the account is empty has the status of a rate limit.
_NO_USE = (b"insufficient_quota", b"billing_hard_limit")


@dataclass(frozen=True, slots=True)
class Retries:
    """How stubborn to be.

    Attributes:
        tries: requests for one batch, the first included.
        first_wait: seconds before the second try, at most; doubled for each further one.
        longest_wait: seconds between two tries, at most.
        patience: the longest Retry-After that is waited for; a longer one is an error at once.
    """

    tries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    patience: float = 120.0


class Retrier:
    """Asks until an answer holds, with one pause for all threads while the server is overloaded."""

    def __init__(self, retries: Retries, *, seed: int | None = None) -> None:
        self._retries = retries
        self._random = random.Random(seed)
        self._pause_until = 0.0

    def ask(self, request: Callable[[], Answer], stop: threading.Event) -> Answer:
        """Return the first answer that is not of a passing trouble.

        Args:
            request: asks once.
            stop: set when the answer is of no use any more.

        Raises:
            EndpointError: none came within the tries, or another thread gave up.
        """
        for attempt in range(1, self._retries.tries + 1):
            self._rest(stop)
            try:
                answer = request()
            except EndpointError as exc:
                if attempt == self._retries.tries:
                    raise EndpointError(f"{exc}, {attempt} times in a row: is the server up?") from exc
                stop.wait(self._back_off(attempt))
                continue
            if not _passes(answer):
                return answer
            wait = self._wait(answer, attempt)
            if answer.status in _OVERLOADED:
                self._pause_until = max(self._pause_until, time.monotonic() + wait)
            else:
                stop.wait(wait)
        raise AssertionError("the last try returns or raises")

    def _rest(self, stop: threading.Event) -> None:
        while (left := self._pause_until - time.monotonic()) > 0:
            if stop.wait(left):
                break
        if stop.is_set():
            raise EndpointError("another batch of the call failed")

    def _wait(self, answer: Answer, attempt: int) -> float:
        asked = retry_after(answer, now=time.time())
        if asked is not None and asked > self._retries.patience:
            raise EndpointError(
                f"the endpoint asks to come back in {asked:g} s (HTTP {answer.status}): run again then",
                status=answer.status,
            )
        if attempt == self._retries.tries:
            raise EndpointError(
                f"the endpoint answered HTTP {answer.status} {attempt} times in a row ({complaint(answer)}): "
                + ("send less at once, with in_flight=1" if answer.status == 429 else "look into the server's log"),
                status=answer.status,
            )
        return self._back_off(attempt) if asked is None else asked + self._random.uniform(0, self._retries.first_wait)

    def _back_off(self, attempt: int) -> float:
        longest = min(self._retries.longest_wait, self._retries.first_wait * 2 ** (attempt - 1))
        return self._random.uniform(longest / 2, longest)


def retry_after(answer: Answer, *, now: float) -> float | None:
    """Return the seconds that a server asks to wait, from a number or a date; None when it does not say."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _passes(answer: Answer) -> bool:
    if answer.status == 429 and any(word in answer.body for word in _NO_USE):
        return False
    return answer.status in _TRANSIENT
