"""qvec's models as LlamaIndex embeddings, with the query instruction applied and newlines kept."""

from __future__ import annotations

import asyncio
from typing import Any

from qvec.embedder import Embedder
from qvec.errors import ConfigError, MissingDriverError
from qvec.registry import DEFAULT_MODEL, load_embedder

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
except ImportError as exc:
    raise MissingDriverError("llama-index-core", "llamaindex") from exc


class QvecEmbedding(BaseEmbedding):  # type: ignore[misc]  # the base is Any to mypy: LlamaIndex is not installed everywhere
    """Embed for LlamaIndex with any qvec model.

    What is stored of it is the model's name, dim and instruction; `from_dict` loads the model again.

    Attributes:
        model_name: a name that `qvec.registry.load_embedder` knows, ``Qwen/Qwen3-Embedding-0.6B`` or ``bundled``.
        instruction: for queries, a preset's name or a sentence; None takes the model's default.
        dim: width to cut to; None keeps the model's own.
        embedder: a loaded model to take in place of the name.
    """

    model_name: str = Field(default=DEFAULT_MODEL, description="The name that loads the model.")
    instruction: str | None = Field(default=None, description="The instruction for queries: a preset or a sentence.")
    dim: int | None = Field(default=None, description="The width to cut vectors to.")
    embedder: Embedder | None = Field(default=None, exclude=True, description="A loaded model, instead of its name.")

    _model: Embedder = PrivateAttr()

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores it."""
        return "QvecEmbedding"

    def model_post_init(self, context: Any, /) -> None:
        """Load the model, once the fields are checked.

        Raises:
            ConfigError: no installed package provides the model, or `dim` is not the given model's; pydantic hands it
                on as a ValidationError with the same message.
            EmbeddingError: the model cannot be loaded.
        """
        super().model_post_init(context)
        if self.embedder is None:
            self._model = load_embedder(self.model_name, dim=self.dim)
        elif self.dim not in (None, self.embedder.dim):
            raise ConfigError(f"dim={self.dim}: the model given has {self.embedder.dim}; load it with that dim")
        else:
            self._model = self.embedder
        self.model_name, self.dim = self._model.model_id, self._model.dim

    @property
    def loaded(self) -> Embedder:
        """The model."""
        return self._model

    def _get_query_embedding(self, query: str) -> list[float]:
        row: list[float] = self._model.encode_query([query], instruction=self.instruction)[0].tolist()
        return row

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._model.encode_document(texts).tolist()
        return rows

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
