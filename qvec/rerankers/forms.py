"""The forms of ``/rerank`` that servers take, and reading what they answer.

Jina, Cohere, vLLM, SGLang, llama.cpp and Infinity take ``documents`` under the API's version, and some of them are told
not to send these back; text-embeddings-inference takes ``texts`` at the server's root.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Literal, TypeAlias

from qvec.embedders.remote.answers import complaint, json_of
from qvec.embedders.remote.retrying import Retrier
from qvec.embedders.remote.sending import refusal
from qvec.embedders.remote.transport import Answer, Transport
from qvec.errors import EndpointError

Form: TypeAlias = Literal["documents", "bare documents", "texts"]
PATH = "/rerank"
KEY = "QVEC_RERANK_API_KEY"
_PROBE = "qvec"
_OTHER_FORM = frozenset({400, 404, 405, 422})


def ask(
    transport: Transport, form: Form, model: str, query: str, texts: Sequence[str], *, timeout: float | None = None
) -> Answer:
    """Send one request.

    Raises:
        EndpointError: no answer came.
    """
    if form == "texts":
        # What may be over the window is told to the caller; TEI refuses the whole batch otherwise.
        body = {"query": query, "texts": list(texts), "raw_scores": False, "truncate": True}
        return transport.post_beside(PATH, body, timeout=timeout)
    asked = {"model": model, "query": query, "documents": list(texts), "top_n": len(texts)}
    if form == "documents":
        asked["return_documents"] = False
    return transport.post(PATH, asked, timeout=timeout)


def find_form(transport: Transport, retrier: Retrier, model: str) -> Form:
    """Find the form that a server takes, by scoring one word.

    Raises:
        EndpointError: it takes neither, or cannot be reached.
    """
    refused: Answer | None = None
    forms: tuple[Form, ...] = ("documents", "bare documents", "texts")
    for form in forms:
        answer = retrier.ask(lambda form=form: ask(transport, form, model, _PROBE, [_PROBE]), threading.Event())  # type: ignore[misc]
        if answer.status == 200:
            read_scores(answer, 1)
            return form
        # 404 may only mean that the server has no such path, and the other answer what is wrong with the request.
        if refused is None or (refused.status == 404 and answer.status != 404):
            refused = answer
        if answer.status not in _OTHER_FORM:
            break
    if refused is None:
        raise AssertionError("there is always a form to try")
    raise refusal(refused, key=KEY)


def read_scores(answer: Answer, count: int) -> list[float]:
    """Read scores by their ``index``.

    Args:
        answer: of status 200.
        count: how many texts were sent.

    Raises:
        EndpointError: it is no JSON, or not `count` finite scores.
    """
    scores: dict[int, float] = {}
    for item in _items(answer):
        index, score = item.get("index"), item.get("relevance_score", item.get("score"))
        if not isinstance(index, int) or not 0 <= index < count or index in scores:
            raise EndpointError(f"the endpoint numbered a score {index!r} among {count} texts", status=answer.status)
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise EndpointError(f"the endpoint gave text {index} the score {score!r}", status=answer.status)
        scores[index] = float(score)
    if len(scores) != count:
        raise EndpointError(f"the endpoint answered {len(scores)} scores for {count} texts", status=answer.status)
    return [scores[at] for at in range(count)]


def _items(answer: Answer) -> list[dict[str, object]]:
    content = json_of(answer)
    found = content if isinstance(content, list) else None
    if isinstance(content, dict):
        found = content.get("results", content.get("data"))
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise EndpointError(
            f"the endpoint answered JSON without a list of scores ({complaint(answer)!r}): is it a /rerank?",
            status=answer.status,
        )
    return found
