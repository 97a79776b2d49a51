"""What an endpoint says of itself: its models, their windows, and the form of request that it takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from qvec.embedders.remote.answers import read_rows
from qvec.embedders.remote.retrying import Retrier
from qvec.embedders.remote.sending import EMBEDDINGS, Form, refusal
from qvec.embedders.remote.transport import Answer, Transport
from qvec.errors import EndpointError

_PROBE = "qvec"
_WINDOW_KEYS = ("max_model_len", "max_input_length", "context_length", "max_context_length")


@dataclass(frozen=True, slots=True)
class Served:
    """A model that an endpoint lists, with its window in tokens where it tells it."""

    model: str
    window: int | None


def list_models(transport: Transport, retrier: Retrier) -> list[Served]:
    """Ask ``/models``, and ``/info`` as TEI has it; empty where the server has neither.

    Raises:
        EndpointError: no answer came.
    """
    content = _json(retrier.ask(lambda: transport.get("/models"), threading.Event()))
    data = content.get("data")
    found = [
        Served(str(item["id"]), _window(item))
        for item in (data if isinstance(data, list) else [])
        if isinstance(item, dict) and "id" in item
    ]
    if any(served.window for served in found):
        return found
    info = _json(retrier.ask(lambda: transport.get_beside("/info"), threading.Event()))
    window = _window(info)
    if window is None:
        return found
    return [Served(served.model, window) for served in found] or [Served(str(info.get("model_id", "")), window)]


def find_form(transport: Transport, retrier: Retrier, model: str, dimensions: int | None) -> tuple[Form, int]:
    """Find a form of request that the server takes, and the width that it answers with.

    Base64 is a quarter of the bytes, and a dim that the server cuts is less still; a server that refuses either gets
    the plain form.

    Raises:
        EndpointError: the server takes none of them, or cannot be reached.
    """
    refused: Answer | None = None
    for form in _forms(model, dimensions):
        body = form.body([_PROBE])
        answer = retrier.ask(lambda body=body: transport.post(EMBEDDINGS, body), threading.Event())  # type: ignore[misc]
        if answer.status == 200:
            return form, read_rows(answer, 1).shape[1]
        if answer.status not in {400, 422}:
            raise refusal(answer)
        refused = refused or answer
    if refused is None:
        raise AssertionError("there is always a form to try")
    raise refusal(refused)


def _forms(model: str, dimensions: int | None) -> Iterator[Form]:
    for asked in dict.fromkeys((dimensions, None)):
        yield Form(model, base64=True, dimensions=asked)
        yield Form(model, base64=False, dimensions=asked)


def _json(answer: Answer) -> dict[str, object]:
    if answer.status in {401, 403}:
        raise refusal(answer)
    try:
        content = json.loads(answer.body) if answer.status == 200 else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _window(item: dict[str, object]) -> int | None:
    found = (item.get(key) for key in _WINDOW_KEYS)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def reachable(transport: Transport) -> None:
    """Check that something answers, at once and without trying again.

    Raises:
        EndpointError: nothing does.
    """
    try:
        transport.get("/models")
    except EndpointError as exc:
        raise EndpointError(f"{exc}: start the server, or correct the URL") from exc
