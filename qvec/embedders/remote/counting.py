"""Tokens as the server counts them, for texts whose bytes alone do not prove that they fit."""

from __future__ import annotations

import json
import threading

from qvec.embedders.remote.retrying import Retrier
from qvec.embedders.remote.transport import Answer, Transport

_PATH = "/tokenize"


class ServedCount:
    """Asks ``/tokenize`` beside the API, as vLLM and SGLang have it, and TEI in words of its own."""

    def __init__(self, transport: Transport, retrier: Retrier, model: str) -> None:
        self._transport = transport
        self._retrier = retrier
        self._forms = [("prompt", {"model": model}), ("inputs", {})]

    def __call__(self, text: str) -> int | None:
        """Count a text's tokens, special tokens included; None where the server has no such answer.

        Raises:
            EndpointError: no answer came.
        """
        while self._forms:
            key, rest = self._forms[0]
            body = {**rest, key: text, "add_special_tokens": True}
            answer = self._retrier.ask(lambda body=body: self._transport.post_beside(_PATH, body), threading.Event())  # type: ignore[misc]
            found = _count(answer)
            if found is not None:
                return found
            self._forms.pop(0)
        return None


def _count(answer: Answer) -> int | None:
    try:
        content = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        return None
    if isinstance(content, dict):
        count = content.get("count")
        return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
    # TEI answers a list of tokens for each text.
    return len(content[0]) if isinstance(content, list) and content and isinstance(content[0], list) else None
