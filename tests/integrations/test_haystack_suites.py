"""Haystack's own tests of document stores, sync and async, on every embedded database.

No test is overridden but the one that Haystack leaves to be written. How documents are compared is, as Haystack asks
of stores that differ: embeddings are kept as float32, all else must be equal, and in the order of writing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qvec.database import Database

pytest.importorskip("haystack")

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    CountUniqueMetadataByFilterTest,
    DocumentStoreBaseExtendedTests,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldUniqueValuesTest,
)
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    CountUniqueMetadataByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    GetMetadataFieldMinMaxAsyncTest,
    GetMetadataFieldsInfoAsyncTest,
    GetMetadataFieldUniqueValuesAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)

from qvec.errors import InvalidInputError
from qvec.integrations.haystack import QvecDocumentStore, QvecDuplicateError


def rounded(document: Document) -> Document:
    embedding = document.embedding
    return replace(document, embedding=None if embedding is None else np.float32(embedding).tolist())


class Shelf:
    @pytest.fixture
    def document_store(self, database: Database) -> QvecDocumentStore:
        return QvecDocumentStore.over(database.collection("haystack"), dim=768)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        assert received == [rounded(document) for document in expected]


class TestDocumentStore(
    Shelf,
    CountDocumentsByFilterTest,
    CountUniqueMetadataByFilterTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldUniqueValuesTest,
    DocumentStoreBaseExtendedTests,
):
    def test_write_documents(self, document_store: QvecDocumentStore) -> None:
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(QvecDuplicateError, match="there already"):
            document_store.write_documents([document], DuplicatePolicy.NONE)
        assert document_store.filter_documents() == [document]


class TestAsyncDocumentStore(
    Shelf,
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    CountUniqueMetadataByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    GetMetadataFieldMinMaxAsyncTest,
    GetMetadataFieldsInfoAsyncTest,
    GetMetadataFieldUniqueValuesAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
):
    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store: QvecDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(InvalidInputError, match="there already"):
            await document_store.write_documents_async([document])
        assert await document_store.filter_documents_async() == [document]
