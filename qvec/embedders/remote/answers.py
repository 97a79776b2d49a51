"""Reading what an endpoint answered: rows in the order of the texts, or an error that says what was wrong with it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

import numpy as np

from qvec.embedders.remote.transport import Answer
from qvec.errors import EmbeddingError, EndpointError
from qvec.types import Vectors

_SHOWN = 200


def read_rows(answer: Answer, count: int) -> Vectors:
    """Read vectors, base64 or lists of numbers, by their ``index``.

    Args:
        answer: of status 200.
        count: how many texts were sent.

    Returns:
        float32 ``(count, width)`` as the server made them: of any length, perhaps not finite.

    Raises:
        EndpointError: it is no JSON, or not `count` vectors of one width.
    """
    data = _data(answer)
    if len(data) != count:
        raise EndpointError(f"the endpoint answered {len(data)} vectors for {count} texts", status=answer.status)
    rows: list[Vectors | None] = [None] * count
    for place, item in enumerate(data):
        index = item.get("index", place)
        if not isinstance(index, int) or not 0 <= index < count or rows[index] is not None:
            raise EndpointError(f"the endpoint numbered a vector {index!r} among {count} texts", status=answer.status)
        rows[index] = _row(item.get("embedding"), answer.status)
    filled = [row for row in rows if row is not None]
    widths = {len(row) for row in filled}
    if len(widths) != 1 or 0 in widths:
        raise EndpointError(f"the endpoint mixed vectors of {sorted(widths)} components", status=answer.status)
    return np.stack(filled)


def unit_rows(rows: Vectors, dim: int) -> Vectors:
    """Cut rows to a dim and bring them to unit length.

    Raises:
        EmbeddingError: a row is zero, NaN or infinite; the message has the positions.
    """
    cut = rows[:, :dim].astype(np.float64)
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    # A row with NaN or infinity has a length with it.
    faulty = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(faulty):
        shown = ", ".join(map(str, faulty[:10]))
        raise EmbeddingError(
            f"the endpoint gave NaN, infinity or zero for {len(faulty)} text(s), position {shown}: "
            "serve the model in bfloat16 or float32, and run qvec doctor --endpoint"
        )
    return np.ascontiguousarray(cut / lengths, dtype=np.float32)


def complaint(answer: Answer) -> str:
    """Return the server's own words about what it refused, in one line."""
    text = answer.body.decode("utf-8", errors="replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict):
        inner = content.get("error", content)
        found = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        text = found if isinstance(found, str) else text
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


def json_of(answer: Answer) -> object:
    """Parse an answer.

    Raises:
        EndpointError: it is no JSON.
    """
    try:
        content: object = json.loads(answer.body)
    except ValueError as exc:
        raise EndpointError(
            f"the endpoint answered no JSON ({complaint(answer)!r}): is the URL that of the API, ending in /v1?",
            status=answer.status,
        ) from exc
    return content


def _data(answer: Answer) -> Sequence[dict[str, object]]:
    content = json_of(answer)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise EndpointError(
            f"the endpoint answered JSON without a list 'data' of vectors ({complaint(answer)!r}): "
            "is it OpenAI-compatible?",
            status=answer.status,
        )
    return data


def _row(value: object, status: int) -> Vectors:
    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
        # JSON has no NaN, so that servers write null for it; NumPy reads None as NaN.
        row = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError, binascii.Error) as exc:
        raise EndpointError(f"the endpoint answered a vector that cannot be read: {exc}", status=status) from exc
    if row.ndim != 1:
        raise EndpointError(f"the endpoint answered a vector of {row.ndim} dimensions", status=status)
    return row
