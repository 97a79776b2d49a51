"""A Haystack retriever: by vector, by keyword or both at once."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from haystack import component, default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import FilterPolicy, apply_filter_policy

from qvec.errors import InvalidInputError
from qvec.integrations.haystack.document_store import QvecDocumentStore
from qvec.retrieval import Mode

_MODES = ("hybrid", "dense", "lexical")


@component
class QvecRetriever:
    """Find the documents of a `QvecDocumentStore` that answer a query.

    Connect ``query`` for the mode ``"lexical"``, ``query_embedding`` for ``"dense"``, both for ``"hybrid"``.
    """

    def __init__(
        self,
        document_store: QvecDocumentStore,
        *,
        mode: Mode = "hybrid",
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        """Set what `run` takes where it is not told.

        Args:
            document_store: where the documents are.
            mode: ``"hybrid"``, ``"dense"`` or ``"lexical"``.
            filters: in Haystack's form.
            top_k: documents wanted.
            return_embedding: hand the documents' embeddings out.
            filter_policy: whether filters given to `run` replace these or are merged with them.

        Raises:
            InvalidInputError: no such mode, `top_k` below 1, or another document store.
        """
        if not isinstance(document_store, QvecDocumentStore):
            raise InvalidInputError(f"QvecRetriever searches a QvecDocumentStore, not {type(document_store).__name__}")
        if mode not in _MODES:
            raise InvalidInputError(f"mode={mode!r}: takes {', '.join(_MODES)}")
        if top_k < 1:
            raise InvalidInputError(f"top_k={top_k}: starts at 1")
        self.document_store = document_store
        self.mode: Mode = mode
        self.filters = filters
        self.top_k = top_k
        self.return_embedding = return_embedding
        self.filter_policy = FilterPolicy.from_str(str(filter_policy))

    def to_dict(self) -> dict[str, Any]:
        """Write what makes this component again."""
        form: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            mode=self.mode,
            filters=self.filters,
            top_k=self.top_k,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )
        return form

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the component that `to_dict` wrote."""
        parameters = dict(data["init_parameters"])
        if isinstance(parameters["document_store"], dict):
            parameters["document_store"] = QvecDocumentStore.from_dict(parameters["document_store"])
        made: Self = default_from_dict(cls, {**data, "init_parameters": parameters})
        return made

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    def run(
        self,
        query: str = "",
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Find documents, best first, with their scores.

        Args:
            query: words, which the modes ``"lexical"`` and ``"hybrid"`` need.
            query_embedding: which the modes ``"dense"`` and ``"hybrid"`` need.
            filters: in Haystack's form.
            top_k: documents wanted; 0 gives none.

        Raises:
            InvalidInputError: the mode lacks what it needs, an embedding of another size, `top_k` below 0.
            QvecFilterError: the filters cannot be read.
        """
        found = self.document_store.retrieve(
            query,
            query_embedding=query_embedding,
            mode=self.mode,
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),
            top_k=self.top_k if top_k is None else top_k,
            return_embedding=self.return_embedding,
        )
        return {"documents": found}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # Haystack is Any to mypy
    async def run_async(
        self,
        query: str = "",
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Find documents in a thread, as `run` does."""
        found: dict[str, list[Document]] = await asyncio.to_thread(self.run, query, query_embedding, filters, top_k)
        return found
