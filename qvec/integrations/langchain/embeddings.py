"""qvec's models as LangChain embeddings, with the query instruction applied and newlines kept."""

from __future__ import annotations

import asyncio

from qvec.embedder import Embedder
from qvec.errors import MissingDriverError
from qvec.registry import DEFAULT_MODEL, load_embedder

try:
    from langchain_core.embeddings import Embeddings
except ImportError as exc:
    raise MissingDriverError("langchain-core", "langchain") from exc


class QvecEmbeddings(Embeddings):  # type: ignore[misc]  # the base is Any to mypy: LangChain is not installed everywhere
    """Embed for LangChain with any qvec model."""

    def __init__(
        self, model: Embedder | str = DEFAULT_MODEL, *, instruction: str | None = None, dim: int | None = None
    ) -> None:
        """Take a model.

        Args:
            model: an embedder, or a name that `qvec.registry.load_embedder` knows, ``Qwen/Qwen3-Embedding-0.6B`` or
                ``bundled``.
            instruction: for queries, a preset's name or a sentence; None takes the model's default.
            dim: width to cut to, when `model` is a name; None keeps the model's own.

        Raises:
            ConfigError: no installed package provides the model.
            EmbeddingError: the model cannot be loaded.
        """
        self.embedder = load_embedder(model, dim=dim) if isinstance(model, str) else model
        self.instruction = instruction

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Returns:
            One vector of unit length for each text, in order.

        Raises:
            EmbeddingError: a text cannot be embedded.
        """
        rows: list[list[float]] = self.embedder.encode_document(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a query with the instruction.

        Returns:
            One vector of unit length.

        Raises:
            EmbeddingError: the query cannot be embedded.
        """
        row: list[float] = self.embedder.encode_query([text], instruction=self.instruction)[0].tolist()
        return row

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents in a thread, as `embed_documents` does, while the event loop goes on."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query in a thread, as `embed_query` does, while the event loop goes on."""
        return await asyncio.to_thread(self.embed_query, text)
