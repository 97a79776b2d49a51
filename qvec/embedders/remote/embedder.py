"""The embedder that asks an endpoint."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from tokenizers import Tokenizer

from qvec.embedder import Embedder
from qvec.embedders.inputs import check_lengths, check_texts
from qvec.embedders.instructions import Prompts, with_default
from qvec.embedders.remote.address import Address, find_key, read_address
from qvec.embedders.remote.answers import unit_rows
from qvec.embedders.remote.counting import ServedCount
from qvec.embedders.remote.discovery import find_form, list_models, reachable
from qvec.embedders.remote.known import known_prompts, known_window
from qvec.embedders.remote.retrying import Retrier, Retries
from qvec.embedders.remote.sending import Limits, Sender
from qvec.embedders.remote.transport import Transport
from qvec.errors import ConfigError
from qvec.types import Vectors

# A start and an end mark, which come on top of a token for each byte at most.
_MARKS = 2


class RemoteEmbedder(Embedder):
    """Embed at an OpenAI-compatible ``/v1/embeddings``; safe to share between threads.

    Prompts go before the texts here, newlines and all. The server's vectors are brought to unit length here, and cut
    to `dim` where it does not do that. Which texts fit is counted with the model's tokenizer where one is named, else
    by the server's ``/tokenize`` where it has one, else by bytes, of which no tokenizer makes more than one token each:
    too careful, never too bold.
    """

    def __init__(
        self,
        model: str = "",
        *,
        dim: int | None = None,
        api_key: str | None = None,
        prompts: Prompts | None = None,
        instruction: str | None = None,
        max_tokens: int | None = None,
        limits: Limits | None = None,
        retries: Retries | None = None,
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Reach an endpoint and see how it takes requests.

        Args:
            model: ``MODEL@http://host:8000/v1``, or ``MODEL`` alone at ``OPENAI_BASE_URL``, else at OpenAI. After a
                ``?`` it may say ``tokenizer=FOLDER`` (a tokenizer.json or its folder), ``max_tokens=``, ``query=`` and
                ``document=`` (prefixes), ``key_env=NAME`` and ``revision=`` (to tell weights apart, or to say that
                two servers have the same).
            dim: width to cut to; None keeps the server's own.
            api_key: None takes it from ``key_env``, else ``QVEC_EMBED_API_KEY``, else, for OpenAI, ``OPENAI_API_KEY``.
            prompts: prefixes; None takes those in the name, else those known for the model.
            instruction: the queries' default instruction, a preset's name or a sentence.
            max_tokens: the model's window; None takes what the name or the server says.
            limits: how much is sent at once.
            retries: how stubborn to be.
            timeout: seconds that the server may stay silent.
            env: the environment; None takes the process's.

        Raises:
            ConfigError: the name cannot be used, the window is not known, or `dim` is wider than the model.
            InvalidInputError: `instruction` cannot be used with this model.
            EndpointError: nothing answers there, or not with vectors.
        """
        environment = os.environ if env is None else env
        address = read_address(model, env=environment)
        own = prompts or _prompts(address)
        self._prompts = with_default(own, instruction)
        named = address.options.get("tokenizer")
        self._tokenizer = None if named is None else load_tokenizer_file(named)
        self._transport = Transport(address.url, key=api_key or find_key(address, env=environment), timeout=timeout)
        reachable(self._transport)
        retrier = Retrier(retries or Retries())
        self.max_tokens = max_tokens or self._window(address, retrier)
        form, width = find_form(self._transport, retrier, address.model, dim)
        self.dim = _checked_dim(dim, width)
        self.model_id = address.model_id
        self.revision = _revision(address)
        self.pooling = "served"
        self.prompt_digest = own.digest
        self._served_count = ServedCount(self._transport, retrier, address.model)
        self._sender = Sender(self._transport, form, width, limits or Limits(), retrier)

    def __repr__(self) -> str:
        return f"RemoteEmbedder({self.model_id!r}, dim={self.dim})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        self._transport.close()

    @property
    def prompts(self) -> Prompts:
        """What goes before queries and documents."""
        return self._prompts

    @property
    def batch_texts(self) -> int:
        """Texts that go into one request, as far as is known by now."""
        return self._sender.batch_texts

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as a document's, prefix and special tokens included.

        Exact with a tokenizer, here or at the server; without one, an upper bound by bytes.

        Raises:
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
            EndpointError: the server does not answer.
        """
        return self._lengths([self._prompts.document + text for text in check_texts(texts)], surely=0)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents; newlines and indentation count.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            TextTooLongError: a text is over `max_tokens`.
            EndpointError: the server gave no vectors; it says how many texts were done.
            EmbeddingError: a text cannot be embedded, or the server refused it.
        """
        return self._encode([self._prompts.document + text for text in check_texts(texts)])

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries, with the model's template applied here.

        Args:
            texts: the queries.
            instruction: a preset's name or a sentence; None takes the default.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            InvalidInputError: the instruction names nothing, or the model takes none.
            TextTooLongError: a query is over `max_tokens`, its instruction included.
            EndpointError: the server gave no vectors.
            EmbeddingError: a query cannot be embedded, or the server refused it.
        """
        prefix = self._prompts.query_prefix(instruction)
        return self._encode([prefix + text for text in check_texts(texts)])

    def _encode(self, texts: list[str]) -> Vectors:
        check_lengths(self._lengths(texts, surely=self.max_tokens), self.max_tokens)
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return unit_rows(self._sender.embed(texts), self.dim)

    def _lengths(self, texts: list[str], *, surely: int) -> list[int]:
        """Count tokens; the server is asked only for texts that by their bytes may have more than `surely`."""
        if self._tokenizer is not None:
            return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]
        bounds = [len(text.encode()) + _MARKS for text in texts]
        counted = (
            self._served_count(text) if bound > surely else None for text, bound in zip(texts, bounds, strict=True)
        )
        return [bound if count is None else count for bound, count in zip(bounds, counted, strict=True)]

    def _window(self, address: Address, retrier: Retrier) -> int:
        stated = address.options.get("max_tokens")
        known = int(stated) if stated else known_window(address.model)
        if known is not None:
            return known
        models = list_models(self._transport, retrier)
        named = [served.window for served in models if served.model == address.model]
        window = next(iter(named or [served.window for served in models if len(models) == 1]), None)
        if window is None:
            raise ConfigError(
                f"{address.url} does not tell how many tokens {address.model} takes, and longer texts might be cut in "
                f"silence: add {'&' if address.options else '?'}max_tokens=N to the model's name; "
                "qvec doctor --endpoint measures it"
            )
        return window


def _prompts(address: Address) -> Prompts:
    if "query" in address.options or "document" in address.options:
        return Prompts(address.options.get("query", ""), address.options.get("document", ""))
    return known_prompts(address.model)


def load_tokenizer_file(named: str) -> Tokenizer:
    """Load a tokenizer.json, or the one in a folder, with truncation and padding switched off.

    Raises:
        ConfigError: there is none.
    """
    path = Path(named).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"tokenizer={named}: no such tokenizer.json or folder with one")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _revision(address: Address) -> str:
    """Tell weights apart by server and name: many servers answer to any name, so that it alone proves nothing."""
    stated = address.options.get("revision")
    return stated or hashlib.sha256(f"{address.url}\0{address.model}".encode()).hexdigest()[:16]


def _checked_dim(asked: int | None, width: int) -> int:
    if asked is not None and not 1 <= asked <= width:
        raise ConfigError(f"dim={asked}: this endpoint's vectors have {width} components")
    return width if asked is None else asked
