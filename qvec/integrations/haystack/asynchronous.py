"""The async twins of a document store's methods: each runs in a thread, while the event loop goes on."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qvec.retrieval import Mode

Filters: TypeAlias = Mapping[str, Any]


class AsyncTwins:
    """Give a store's methods twins whose names end in ``_async``."""

    @abstractmethod
    def count_documents(self) -> int: ...

    async def count_documents_async(self) -> int:
        """Do what `count_documents` does."""
        return await asyncio.to_thread(self.count_documents)

    @abstractmethod
    def count_documents_by_filter(self, filters: Filters) -> int: ...

    async def count_documents_by_filter_async(self, filters: Filters) -> int:
        """Do what `count_documents_by_filter` does."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    @abstractmethod
    def filter_documents(self, filters: Filters | None = None) -> list[Document]: ...

    async def filter_documents_async(self, filters: Filters | None = None) -> list[Document]:
        """Do what `filter_documents` does."""
        return await asyncio.to_thread(self.filter_documents, filters)

    @abstractmethod
    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int: ...

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Do what `write_documents` does."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    @abstractmethod
    def delete_documents(self, document_ids: list[str]) -> None: ...

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Do what `delete_documents` does."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    @abstractmethod
    def delete_all_documents(self, *, recreate_collection: bool = False) -> None: ...

    async def delete_all_documents_async(self, *, recreate_collection: bool = False) -> None:
        """Do what `delete_all_documents` does."""
        await asyncio.to_thread(self.delete_all_documents, recreate_collection=recreate_collection)

    @abstractmethod
    def delete_by_filter(self, filters: Filters) -> int: ...

    async def delete_by_filter_async(self, filters: Filters) -> int:
        """Do what `delete_by_filter` does."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    @abstractmethod
    def update_by_filter(self, filters: Filters, meta: Mapping[str, Any]) -> int: ...

    async def update_by_filter_async(self, filters: Filters, meta: Mapping[str, Any]) -> int:
        """Do what `update_by_filter` does."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    @abstractmethod
    def count_unique_metadata_by_filter(self, filters: Filters, metadata_fields: Sequence[str]) -> dict[str, int]: ...

    async def count_unique_metadata_by_filter_async(
        self, filters: Filters, metadata_fields: Sequence[str]
    ) -> dict[str, int]:
        """Do what `count_unique_metadata_by_filter` does."""
        return await asyncio.to_thread(self.count_unique_metadata_by_filter, filters, metadata_fields)

    @abstractmethod
    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]: ...

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """Do what `get_metadata_fields_info` does."""
        return await asyncio.to_thread(self.get_metadata_fields_info)

    @abstractmethod
    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]: ...

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """Do what `get_metadata_field_min_max` does."""
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)

    @abstractmethod
    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: Filters | None = None,
    ) -> tuple[list[Any], int]: ...

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: Filters | None = None,
    ) -> tuple[list[Any], int]:
        """Do what `get_metadata_field_unique_values` does."""
        return await asyncio.to_thread(
            self.get_metadata_field_unique_values, metadata_field, search_term, from_, size, filters
        )

    @abstractmethod
    def retrieve(
        self,
        query: str = "",
        *,
        query_embedding: Sequence[float] | None = None,
        mode: Mode = "hybrid",
        filters: Filters | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]: ...

    async def retrieve_async(
        self,
        query: str = "",
        *,
        query_embedding: Sequence[float] | None = None,
        mode: Mode = "hybrid",
        filters: Filters | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """Do what `retrieve` does."""
        return await asyncio.to_thread(
            self.retrieve,
            query,
            query_embedding=query_embedding,
            mode=mode,
            filters=filters,
            top_k=top_k,
            return_embedding=return_embedding,
        )
