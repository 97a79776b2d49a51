"""Haystack's own tests of document stores, sync and async, on every database.

No test is overridden but the one that Haystack leaves to be written. How documents are compared is, as Haystack asks
of stores that differ: embeddings are float32, whose last digit Elasticsearch changes, for it keeps length and direction
apart; all else must be equal, and in the order of writing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from qvec.database import Database

pytest.importorskip("haystack")

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests

from qvec.errors import InvalidInputError
from qvec.integrations.haystack import QvecDocumentStore, QvecDuplicateError


def bare(documents: list[Document]) -> list[Document]:
    return [replace(document, embedding=None) for document in documents]


class Shelf:
    @pytest.fixture
    def document_store(self, database: Database) -> QvecDocumentStore:
        return QvecDocumentStore.over(database.collection("haystack"), dim=768)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        assert bare(received) == bare(expected)
        for found, given in zip(received, expected, strict=True):
            assert found.embedding == (given.embedding and pytest.approx(given.embedding, rel=3e-7))


class TestDocumentStore(
    Shelf,
    sync_tests.CountDocumentsByFilterTest,
    sync_tests.CountUniqueMetadataByFilterTest,
    sync_tests.GetMetadataFieldsInfoTest,
    sync_tests.GetMetadataFieldMinMaxTest,
    sync_tests.GetMetadataFieldUniqueValuesTest,
    sync_tests.DocumentStoreBaseExtendedTests,
):
    def test_write_documents(self, document_store: QvecDocumentStore) -> None:
        """Stands where Haystack's own raises NotImplementedError: what no policy means is each store's to say."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(QvecDuplicateError, match="there already"):
            document_store.write_documents([document], DuplicatePolicy.NONE)
        assert document_store.filter_documents() == [document]


class TestAsyncDocumentStore(
    Shelf,
    async_tests.CountDocumentsAsyncTest,
    async_tests.CountDocumentsByFilterAsyncTest,
    async_tests.CountUniqueMetadataByFilterAsyncTest,
    async_tests.DeleteAllAsyncTest,
    async_tests.DeleteByFilterAsyncTest,
    async_tests.DeleteDocumentsAsyncTest,
    async_tests.FilterDocumentsAsyncTest,
    async_tests.GetMetadataFieldMinMaxAsyncTest,
    async_tests.GetMetadataFieldsInfoAsyncTest,
    async_tests.GetMetadataFieldUniqueValuesAsyncTest,
    async_tests.UpdateByFilterAsyncTest,
    async_tests.WriteDocumentsAsyncTest,
):
    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store: QvecDocumentStore) -> None:
        """Stands where Haystack's own raises NotImplementedError, as above."""
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(InvalidInputError, match="there already"):
            await document_store.write_documents_async([document])
        assert await document_store.filter_documents_async() == [document]
