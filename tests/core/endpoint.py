"""A real embedding server on this machine, which serves a model of ours and can be told to do it wrong in many ways."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qvec.embedders.bundled import BundledEmbedder
from tests.core.local_server import Handler, LocalServer

MODEL = "bundled-by-http"
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass
class Faults:
    """What is wrong with the server; counts go down with each request that they spoil."""

    scale: float = 1.0
    refuses_dimensions: bool = False
    ignores_dimensions: bool = False
    refuses_base64: bool = False
    swallows_newlines: bool = False
    batch_limit: int | None = None
    batch_limit_status: int = 413
    cuts_words: int | None = None
    refuses_words: int | None = None
    refuses_text: str | None = None
    overloaded: int = 0
    retry_after: str | None = None
    errors: int = 0
    resets: int = 0
    slow_seconds: float = 0.0
    slow: int = 0
    reversed_data: bool = False
    same_index: bool = False
    wrong_index: bool = False
    nan_for: str | None = None
    drops_one: bool = False
    answer: bytes | None = None
    status: int | None = None
    window: int | None = 4096
    key: str | None = None
    counts: str | None = None


class Refusal(Exception):
    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass
class Log:
    """What the server saw."""

    inputs: list[list[str]] = field(default_factory=list)
    answered: list[list[str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0
    connections: int = 0


class Endpoint(LocalServer):
    """The server, up as long as the ``with`` lasts."""

    model = MODEL

    def __init__(self, faults: Faults | None = None, embed: Embed | None = None) -> None:
        self.faults = faults or Faults()
        self.log = Log()
        self.lock = threading.Lock()
        self.embed = embed or BundledEmbedder(threads=1).encode_document
        super().__init__(_Handler)

    def take(self, count: str) -> bool:
        """Use up one of a fault's turns."""
        with self.lock:
            left = getattr(self.faults, count)
            setattr(self.faults, count, max(0, left - 1))
            return bool(left)

    def answer(self, body: dict[str, Any]) -> bytes:
        faults, texts = self.faults, list(body["input"])
        self._trouble(body, texts)
        if faults.answer is not None:
            return faults.answer
        if faults.swallows_newlines:
            texts = [text.replace("\n", " ") for text in texts]
        if faults.cuts_words is not None:
            texts = [_cut(text, faults.cuts_words) for text in texts]
        rows = self.embed(texts) * np.float32(faults.scale)
        if body.get("dimensions") and not faults.ignores_dimensions:
            rows = rows[:, : body["dimensions"]]
        for row, text in zip(rows, texts, strict=True):
            if faults.nan_for is not None and faults.nan_for in text:
                row[0] = np.nan
        with self.lock:
            self.log.answered.append(list(body["input"]))
        return json.dumps({"object": "list", "data": self._data(rows, body), "model": MODEL}).encode()

    def _data(self, rows: np.ndarray, body: dict[str, Any]) -> list[dict[str, Any]]:
        def written(row: np.ndarray) -> object:
            if body.get("encoding_format") == "base64":
                return base64.b64encode(row.astype("<f4").tobytes()).decode()
            return [None if np.isnan(value) else float(value) for value in row]

        faults, data = self.faults, []
        for index, row in enumerate(rows):
            told = 0 if faults.same_index else len(rows) - 1 - index if faults.wrong_index else index
            data.append({"object": "embedding", "index": told, "embedding": written(row)})
        data = data[:-1] if faults.drops_one and len(data) > 1 else data
        return data[::-1] if faults.reversed_data else data

    def _trouble(self, body: dict[str, Any], texts: list[str]) -> None:
        faults = self.faults
        if self.take("overloaded"):
            raise Refusal(429, "slow down", **({"Retry-After": faults.retry_after} if faults.retry_after else {}))
        if self.take("errors"):
            raise Refusal(500, "the backend fell over")
        if self.take("slow"):
            self.ended.wait(faults.slow_seconds)
        if faults.status is not None:
            raise Refusal(faults.status, "no")
        if body.get("model") != MODEL:
            raise Refusal(404, f"The model {body.get('model')!r} does not exist")
        if faults.refuses_dimensions and "dimensions" in body:
            raise Refusal(400, "Model does not support matryoshka representation")
        if faults.refuses_base64 and body.get("encoding_format") == "base64":
            raise Refusal(422, "encoding_format: unknown variant")
        if faults.batch_limit is not None and len(texts) > faults.batch_limit:
            raise Refusal(
                faults.batch_limit_status, f"batch size {len(texts)} > maximum allowed batch size {faults.batch_limit}"
            )
        for text in texts:
            if faults.refuses_words is not None and len(text.split()) > faults.refuses_words:
                raise Refusal(400, f"This model's maximum context length is {faults.refuses_words} tokens")
            if faults.refuses_text is not None and faults.refuses_text in text:
                raise Refusal(400, "this input cannot be taken")


def transformer(folder: Path, *, pooling: str = "last", end: bool = True) -> Embed:
    """Serve a folder's model through plain transformers, by another pooling or without the end mark if told so."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    from qvec.embedders.pooling import POOLINGS

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModel.from_pretrained(str(folder), dtype=torch.float32).eval()
    mark = tokenizer.token_to_id("<|endoftext|>")

    def embed(texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            ids = [token for token in tokenizer.encode(text).ids if token != mark] + ([mark] if end else [])
            with torch.inference_mode():
                hidden = model(input_ids=torch.tensor([ids or [mark]])).last_hidden_state
                row = POOLINGS[pooling](hidden, torch.ones(hidden.shape[:2], dtype=torch.int64))
            rows.append(torch.nn.functional.normalize(row)[0].numpy())
        return np.stack(rows)

    return embed


def _cut(text: str, words: int) -> str:
    return "".join(re.findall(r"\s*\S+", text)[:words])


class _Handler(Handler):
    def setup(self) -> None:
        super().setup()
        self.server.endpoint.log.connections += 1

    def do_GET(self) -> None:
        endpoint = self.server.endpoint
        item: dict[str, Any] = {"id": MODEL, "object": "model"}
        if endpoint.faults.window is not None:
            item["max_model_len"] = endpoint.faults.window
        if self.path == "/v1/models":
            self.write(200, json.dumps({"data": [item]}).encode())
        else:
            self.write(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        endpoint = self.server.endpoint
        if self.path == "/tokenize":
            self._count(body)
            return
        log = endpoint.log
        with endpoint.lock:
            log.inputs.append(list(body["input"]))
            log.bodies.append(body)
            log.times.append(time.monotonic())
            log.under_way += 1
            log.most_under_way = max(log.most_under_way, log.under_way)
            log.keys.add(self.headers.get("Authorization", ""))
        try:
            self._embed(body)
        finally:
            with endpoint.lock:
                log.under_way -= 1

    def _count(self, body: dict[str, Any]) -> None:
        """Count words and two marks, in the words of vLLM (``prompt``) or TEI (``inputs``)."""
        counts, log = self.server.endpoint.faults.counts, self.server.endpoint.log
        text = body.get({"vllm": "prompt", "tei": "inputs"}.get(counts or "", ""))
        if text is None:
            self.write(404 if counts is None else 422, b"{}")
            return
        tokens = [{"id": number} for number in range(len(text.split()) + 2)]
        log.counted.append(text)
        answer = {"count": len(tokens), "max_model_len": 20} if counts == "vllm" else [tokens]
        self.write(200, json.dumps(answer).encode())

    def _embed(self, body: dict[str, Any]) -> None:
        endpoint = self.server.endpoint
        if endpoint.take("resets"):
            # Without lingering, closing answers with a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        key = endpoint.faults.key
        try:
            if key is not None and self.headers.get("Authorization") != f"Bearer {key}":
                raise Refusal(401, "wrong key")
            self.write(200, endpoint.answer(body))
        except Refusal as exc:
            self.write(exc.status, json.dumps({"error": {"message": str(exc)}}).encode(), exc.headers)
