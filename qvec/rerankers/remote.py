"""The reranker that asks a ``/rerank``: vLLM, SGLang, text-embeddings-inference, llama.cpp, Jina, Cohere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from qvec.embedders.inputs import check_texts
from qvec.embedders.remote.address import Address, clean_url, named_key, split_name
from qvec.embedders.remote.answers import complaint
from qvec.embedders.remote.discovery import list_models, reachable
from qvec.embedders.remote.embedder import load_tokenizer_file
from qvec.embedders.remote.retrying import Retrier, Retries
from qvec.embedders.remote.sending import REFUSED, TOO_MANY, refusal
from qvec.embedders.remote.transport import Transport
from qvec.errors import ConfigError, EndpointError, InvalidInputError, TextTooLongError
from qvec.reranker import OUT_OF_TIME, Relevance, Reranker
from qvec.rerankers.forms import KEY, ask, find_form, read_scores
from qvec.rerankers.qwen3 import PREFIX, SUFFIX, head

KIND = "rerank"
EXAMPLE = f"{KIND}:BAAI/bge-reranker-v2-m3@http://localhost:8000/v1"
OPTIONS = ("key_env", "max_tokens", "template", "tokenizer")
# TEI takes 32 unless it is told otherwise; a server that takes less is found out.
BATCH_TEXTS = 32
# A start mark, an end mark and two between the texts, as XLM-RoBERTa's rerankers have them.
_MARKS = 4


class RemoteReranker(Reranker):
    """Score pairs at a ``/rerank``; safe to share between threads.

    With the tokenizer named, what does not fit the window is cut here, and its note says so. Without it lengths are
    judged by bytes, nothing is cut here, and the note says what the server may have cut.
    """

    def __init__(
        self,
        model: str = "",
        *,
        api_key: str | None = None,
        max_tokens: int | None = None,
        batch_texts: int = BATCH_TEXTS,
        retries: Retries | None = None,
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Reach an endpoint and see which form of request it takes.

        Args:
            model: ``MODEL@http://host:8000/v1``. After a ``?`` it may say ``max_tokens=``, ``tokenizer=FOLDER`` (a
                tokenizer.json or its folder), ``key_env=VARIABLE`` and ``template=qwen3``, for a server that hands
                Qwen3-Reranker the texts as they are, as vLLM does without a chat template.
            api_key: None takes it from ``key_env``, else ``QVEC_RERANK_API_KEY``.
            max_tokens: the model's window; None takes what the name or the server says.
            batch_texts: most documents in one request.
            retries: how stubborn to be.
            timeout: seconds that the server may stay silent.
            env: the environment; None takes the process's.

        Raises:
            ConfigError: the name cannot be used, or the window is not known.
            EndpointError: nothing answers there, or not with scores.
        """
        environment = os.environ if env is None else env
        address = _read(model)
        self.takes_instructions = address.options.get("template") == "qwen3"
        self._model = address.model
        named = address.options.get("tokenizer")
        self._tokenizer = None if named is None else load_tokenizer_file(named)
        key = api_key or named_key(address, env=environment) or environment.get(KEY) or None
        self._transport = Transport(address.url, key=key, timeout=timeout)
        self._retrier = Retrier(retries or Retries())
        reachable(self._transport)
        self._form = find_form(self._transport, self._retrier, address.model)
        self.model_id = address.model_id
        self.max_tokens = max_tokens or self._window(address)
        self._most = batch_texts

    def __repr__(self) -> str:
        return f"RemoteReranker({self.model_id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        self._transport.close()

    def count_tokens(self, query: str, texts: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Count each pair's tokens, cut to `max_tokens`: exact but for the marks with a tokenizer, else by bytes.

        Raises:
            InvalidInputError: the model takes no instruction.
            TextTooLongError: the query alone is over the window.
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        asked = self._asked(query, instruction)
        room = self._room(asked)
        used = self.max_tokens - room
        return [min(used + size, self.max_tokens) for size in self._lengths(check_texts(texts))]

    def score(
        self, query: str, texts: Sequence[str], *, instruction: str | None = None, seconds: float | None = None
    ) -> list[Relevance]:
        """Score documents, in requests of as many as the server turned out to take.

        Returns:
            One relevance for each text, in the order of `texts`; one that the server refused has no score, and its note
            has the server's words.

        Raises:
            InvalidInputError: the model takes no instruction.
            TextTooLongError: the query alone is over the window.
            EndpointError: the server gave no scores.
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        asked = self._asked(query, instruction)
        fitted = self._fitted(check_texts(texts), self._room(asked))
        call = _Call(asked, [text for text, _ in fitted], seconds)
        with call:
            start = 0
            while start < len(fitted) and call.left() != 0.0:
                places = range(start, min(start + self._most, len(fitted)))
                self._send(call, places)
                start = places.stop
        return [Relevance(found.score, found.note or note) for found, (_, note) in zip(call.found, fitted, strict=True)]

    def _send(self, call: _Call, places: range) -> None:
        texts = [self._written(call.texts[at]) for at in places]
        try:
            answer = self._retrier.ask(
                lambda: ask(self._transport, self._form, self._model, call.query, texts, timeout=call.left()), call.stop
            )
        except EndpointError:
            if call.left() == 0.0:
                return
            raise
        if answer.status == 200:
            for at, score in zip(places, read_scores(answer, len(places)), strict=True):
                call.found[at] = Relevance(score)
        elif answer.status not in REFUSED:
            raise refusal(answer, key=KEY)
        elif len(places) == 1:
            call.found[places.start] = Relevance(None, f"not scored: the server refused it: {complaint(answer)}")
        else:
            half = (len(places) + 1) // 2
            self._send(call, places[:half])
            self._send(call, places[half:])
            if answer.status == 413 or TOO_MANY.search(complaint(answer)):
                self._most = min(self._most, half)

    def _asked(self, query: str, instruction: str | None) -> str:
        (checked,) = check_texts([query])
        if self.takes_instructions:
            return PREFIX + head(checked, instruction).removesuffix("<Document>: ")
        if instruction is not None:
            raise InvalidInputError(
                f"{self.model_id} takes no instruction, so {instruction!r} would be lost: leave it out, or, for "
                "Qwen3-Reranker on a server without its template, add template=qwen3 to the name"
            )
        return checked

    def _written(self, text: str) -> str:
        return f"<Document>: {text}{SUFFIX}" if self.takes_instructions else text

    def _room(self, asked: str) -> int:
        """Return the tokens that are left for a document's text."""
        used = sum(self._lengths([asked, self._written("")])) + _MARKS
        if used >= self.max_tokens:
            raise TextTooLongError({0: used}, self.max_tokens)
        return self.max_tokens - used

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        if self._tokenizer is None:
            return [len(text.encode()) for text in texts]
        return [len(found.ids) for found in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def _fitted(self, texts: list[str], room: int) -> list[tuple[str, str]]:
        """Return each text as it is sent, with what is to be told of it."""
        used = self.max_tokens - room
        if self._tokenizer is None:
            told = f"perhaps cut by the server at {self.max_tokens:,} tokens: name its tokenizer to know"
            return [(text, told if len(text.encode()) > room else "") for text in texts]
        fitted = []
        for text, found in zip(texts, self._tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
            if len(found.ids) <= room:
                fitted.append((text, ""))
            else:
                note = f"cut to {self.max_tokens:,} of {used + len(found.ids):,} tokens"
                fitted.append((text[: found.offsets[room][0]], note))
        return fitted

    def _window(self, address: Address) -> int:
        stated = address.options.get("max_tokens")
        if stated:
            return int(stated)
        models = list_models(self._transport, self._retrier)
        named = [served.window for served in models if served.model == address.model]
        window = next(iter(named or [served.window for served in models if len(models) == 1]), None)
        if window is None:
            raise ConfigError(
                f"{address.url} does not tell how many tokens {address.model} takes, and longer texts might be cut in "
                f"silence: add {'&' if address.options else '?'}max_tokens=N to the reranker's name"
            )
        return window


class _Call:
    """One call's query, texts and answers, and the time that is left for it."""

    def __init__(self, query: str, texts: list[str], seconds: float | None) -> None:
        self.query = query
        self.texts = texts
        self.found = [Relevance(None, OUT_OF_TIME)] * len(texts)
        self.stop = threading.Event()
        self._end = None if seconds is None else time.monotonic() + seconds
        self._alarm = None if seconds is None else threading.Timer(max(seconds, 0.0), self.stop.set)

    def __enter__(self) -> Self:
        if self._alarm is not None:
            self._alarm.daemon = True
            self._alarm.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def left(self) -> float | None:
        """Return the seconds that are left, 0 when there are none; None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def _read(name: str) -> Address:
    model, url, options = split_name(name, kind=KIND, known=OPTIONS, example=EXAMPLE)
    if url is None:
        raise ConfigError(f"no server named: write {EXAMPLE}")
    if options.get("template", "qwen3") != "qwen3":
        raise ConfigError(f"template={options['template']!r}: takes qwen3")
    return Address(model, clean_url(url), options, kind=KIND)
