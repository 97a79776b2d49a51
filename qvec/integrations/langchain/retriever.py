"""A LangChain retriever that searches by meaning and by keyword at once."""

from __future__ import annotations

import asyncio

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from qvec.filters import Condition, Filter
from qvec.integrations.langchain.vectorstore import QvecVectorStore
from qvec.retrieval import Mode


class QvecRetriever(BaseRetriever):  # type: ignore[misc]  # the base is Any to mypy: LangChain is not installed everywhere
    """Retrieve the documents that answer a query, by both legs fused unless told otherwise.

    Attributes:
        vectorstore: where the documents are.
        k: documents wanted; also an argument of `invoke`.
        mode: ``"hybrid"``, ``"dense"`` or ``"lexical"``; also an argument of `invoke`.
        filter: LangChain's operator dict, or qvec's string or condition; also an argument of `invoke`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    vectorstore: QvecVectorStore
    k: int = 4
    mode: Mode = "hybrid"
    filter: dict[str, object] | str | Condition | Filter | None = None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        mode: Mode | None = None,
        filter: dict[str, object] | str | Condition | Filter | None = None,
    ) -> list[LangChainDocument]:
        return self._search(query, k, mode, filter)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        mode: Mode | None = None,
        filter: dict[str, object] | str | Condition | Filter | None = None,
    ) -> list[LangChainDocument]:
        return await asyncio.to_thread(self._search, query, k, mode, filter)

    def _search(
        self,
        query: str,
        k: int | None,
        mode: Mode | None,
        filter: dict[str, object] | str | Condition | Filter | None,
    ) -> list[LangChainDocument]:
        return self.vectorstore.similarity_search(
            query,
            self.k if k is None else k,
            self.filter if filter is None else filter,
            mode=mode or self.mode,
        )
