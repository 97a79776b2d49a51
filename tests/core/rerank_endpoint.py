"""A real ``/rerank`` on this machine, in the forms that servers have, which can be told to do it wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from qvec.lexical import tokens
from tests.core.local_server import Handler, LocalServer

MODEL = "overlap"


@dataclass
class Faults:
    """How the server answers and what is wrong with it; counts go down with each request that they spoil."""

    form: str = "results"
    window: int | None = 4096
    batch_limit: int | None = None
    batch_limit_status: int = 413
    refuses_text: str | None = None
    knows_return_documents: bool = True
    errors: int = 0
    overloaded: int = 0
    slow_seconds: float = 0.0
    drops_one: bool = False
    same_index: bool = False
    score: Any = None
    answer: bytes | None = None
    key: str | None = None


@dataclass
class Log:
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


def overlap(query: str, text: str) -> float:
    """The share of the query's words that a text has: this server's model."""
    asked = set(tokens(query))
    return len(asked & set(tokens(text))) / max(1, len(asked))


class RerankEndpoint(LocalServer):
    """The server, up as long as the ``with`` lasts."""

    model = MODEL

    def __init__(self, **faults: Any) -> None:
        self.faults = Faults(**faults)
        self.log = Log()
        super().__init__(_Handler)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        faults = self.faults
        listed = "texts" if faults.form == "tei" else "documents"
        if path != ("/rerank" if faults.form == "tei" else "/v1/rerank"):
            return 404, {"error": {"message": "not found"}}
        if listed not in body:
            return 422, {"detail": f"field required: {listed}"}
        if not faults.knows_return_documents and "return_documents" in body:
            return 400, {"message": "unknown field: return_documents"}
        if faults.form != "tei" and body["model"] != MODEL:
            return 404, {"error": {"message": f"The model {body['model']!r} does not exist"}}
        return self._scored(body["query"], body[listed])

    def _scored(self, query: str, texts: list[str]) -> tuple[int, Any]:
        faults = self.faults
        if faults.errors:
            faults.errors -= 1
            return 500, {"error": {"message": "the backend fell over"}}
        if faults.overloaded:
            faults.overloaded -= 1
            return 429, {"error": {"message": "slow down"}}
        if faults.batch_limit is not None and len(texts) > faults.batch_limit:
            limit = f"batch size {len(texts)} > maximum allowed batch size {faults.batch_limit}"
            return faults.batch_limit_status, {"error": limit}
        if any(faults.refuses_text is not None and faults.refuses_text in text for text in texts):
            return 400, {"message": "this document cannot be taken"}
        if texts != ["qvec"]:
            self.ended.wait(faults.slow_seconds)
        named = "score" if faults.form == "tei" else "relevance_score"
        items = [
            {
                "index": 0 if faults.same_index else index,
                named: overlap(query, text) if faults.score is None or texts == ["qvec"] else faults.score,
            }
            for index, text in enumerate(texts)
        ]
        # Servers answer best first.
        items.sort(key=lambda item: -item[named] if isinstance(item[named], float) else 0)
        items = items[:-1] if faults.drops_one and len(items) > 1 else items
        return 200, items if faults.form == "tei" else {"id": "x", faults.form: items}


class _Handler(Handler):
    def do_GET(self) -> None:
        faults = self.server.endpoint.faults
        if self.path == "/info" and faults.form == "tei":
            self._answer(200, {"model_id": MODEL, "max_input_length": faults.window})
        elif self.path == "/v1/models" and faults.form != "tei":
            self._answer(200, {"data": [{"id": MODEL, "max_model_len": faults.window}]})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        endpoint = self.server.endpoint
        shown = self.headers.get("Authorization", "")
        endpoint.log.bodies.append(body)
        endpoint.log.keys.add(shown)
        if endpoint.faults.key is not None and shown != f"Bearer {endpoint.faults.key}":
            self._answer(401, {"error": {"message": "wrong key"}})
        elif endpoint.faults.answer is not None:
            self._answer(200, endpoint.faults.answer)
        else:
            self._answer(*endpoint.answer(self.path, body))

    def _answer(self, status: int, content: Any) -> None:
        self.write(status, content if isinstance(content, bytes) else json.dumps(content).encode())
