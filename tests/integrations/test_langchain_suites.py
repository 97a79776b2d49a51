"""LangChain's own tests of vector stores and retrievers, on every database, none overridden."""

from __future__ import annotations

import pytest

from qvec.database import Database

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from qvec.integrations.langchain import QvecRetriever, QvecVectorStore

anyio = pytest.mark.anyio
TEXTS = ["read a csv file", "write a csv file", "open a socket", "parse a csv header", "close the csv file"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@anyio
class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, database: Database) -> VectorStore:
        return QvecVectorStore.connect(database, embedding=self.get_embeddings())


@anyio
class TestHybridVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, database: Database) -> VectorStore:
        return QvecVectorStore.connect(database, embedding=self.get_embeddings(), mode="hybrid")


@anyio
@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _fill(self, database: Database, mode: str) -> None:
        self.vectorstore = QvecVectorStore.from_texts(TEXTS, database=database)
        self.mode = mode

    @property
    def retriever_constructor(self) -> type[QvecRetriever]:
        return QvecRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, object]:
        return {"vectorstore": self.vectorstore, "mode": self.mode}

    @property
    def retriever_query_example(self) -> str:
        return "csv file"
