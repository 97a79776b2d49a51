"""qvec's models as Haystack components, with the query instruction applied and newlines kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from haystack import component, default_from_dict, default_to_dict
from haystack.dataclasses import Document

from qvec.embedder import Embedder
from qvec.errors import InvalidInputError
from qvec.registry import DEFAULT_MODEL, load_embedder


class _Model:
    """Hold a model by name until it is needed."""

    def __init__(self, model: str, dim: int | None) -> None:
        self.model = model
        self.dim = dim
        self._loaded: Embedder | None = None

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ConfigError: no installed package provides it.
            EmbeddingError: it cannot be loaded.
        """
        self._load()

    def _load(self) -> Embedder:
        if self._loaded is None:
            self._loaded = load_embedder(self.model, dim=self.dim)
        return self._loaded

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the component that `to_dict` wrote."""
        made: Self = default_from_dict(cls, data)
        return made


@component
class QvecTextEmbedder(_Model):
    """Embed queries."""

    def __init__(self, model: str = DEFAULT_MODEL, *, dim: int | None = None, instruction: str | None = None) -> None:
        """Name a model; it is loaded when it is first needed.

        Args:
            model: a name that `qvec.registry.load_embedder` knows, ``Qwen/Qwen3-Embedding-0.6B`` or ``bundled``.
            dim: width to cut to; None keeps the model's own.
            instruction: a preset's name or a sentence; None takes the model's default.
        """
        _Model.__init__(self, model, dim)  # @component makes another class, of which super() does not know
        self.instruction = instruction

    def to_dict(self) -> dict[str, Any]:
        """Write what makes this component again."""
        form: dict[str, Any] = default_to_dict(self, model=self.model, dim=self.dim, instruction=self.instruction)
        return form

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    def run(self, text: str) -> dict[str, list[float]]:
        """Embed a query.

        Returns:
            A vector of unit length under ``embedding``.

        Raises:
            InvalidInputError: `text` is no string.
            EmbeddingError: the text cannot be embedded.
        """
        if not isinstance(text, str):
            raise InvalidInputError(f"QvecTextEmbedder takes a string, not {type(text).__name__}")
        return {"embedding": self._load().encode_query([text], instruction=self.instruction)[0].tolist()}

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """Embed a query in a thread, as `run` does."""
        found: dict[str, list[float]] = await asyncio.to_thread(self.run, text)
        return found


@component
class QvecDocumentEmbedder(_Model):
    """Embed documents."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        dim: int | None = None,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
    ) -> None:
        """Name a model; it is loaded when it is first needed.

        Args:
            model: a name that `qvec.registry.load_embedder` knows, ``Qwen/Qwen3-Embedding-0.6B`` or ``bundled``.
            dim: width to cut to; None keeps the model's own.
            meta_fields_to_embed: metadata to put before the content.
            embedding_separator: stands between them.
        """
        _Model.__init__(self, model, dim)
        self.meta_fields_to_embed = list(meta_fields_to_embed)
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """Write what makes this component again."""
        form: dict[str, Any] = default_to_dict(
            self,
            model=self.model,
            dim=self.dim,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )
        return form

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents.

        Returns:
            Copies of the documents with vectors of unit length, under ``documents``.

        Raises:
            InvalidInputError: what is no list of documents.
            EmbeddingError: a text cannot be embedded, or is over the model's window.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InvalidInputError("QvecDocumentEmbedder takes a list of haystack Documents")
        rows = self._load().encode_document([self._text(document) for document in documents]).tolist()
        return {"documents": [replace(document, embedding=row) for document, row in zip(documents, rows, strict=True)]}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents in a thread, as `run` does."""
        found: dict[str, list[Document]] = await asyncio.to_thread(self.run, documents)
        return found

    def _text(self, document: Document) -> str:
        fields = [document.meta.get(name) for name in self.meta_fields_to_embed]
        parts = [*(str(value) for value in fields if value is not None), document.content or ""]
        return self.embedding_separator.join(parts)
