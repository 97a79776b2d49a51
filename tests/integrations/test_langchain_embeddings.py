"""LangChain's own embedding tests on our class, and what they do not ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qvec.embedders.hashing import HashingEmbedder
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import ConfigError
from qvec.types import Vectors
from tests.models import write_qwen3

pytest.importorskip("langchain_core")
langchain_tests = pytest.importorskip("langchain_tests")

from langchain_core.vectorstores import InMemoryVectorStore  # noqa: E402
from langchain_tests.integration_tests import EmbeddingsIntegrationTests  # noqa: E402
from langchain_tests.unit_tests import EmbeddingsUnitTests  # noqa: E402

from qvec.integrations.langchain import QvecEmbeddings  # noqa: E402

anyio = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> TransformerEmbedder:
    pytest.importorskip("torch")
    return TransformerEmbedder(str(write_qwen3(tmp_path_factory.mktemp("qwen3"))), device="cpu", dtype="float32")


class TestUnitWithHashing(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[QvecEmbeddings]:
        return QvecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"model": "hashing", "dim": 64}


@anyio
class TestIntegrationWithHashing(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[QvecEmbeddings]:
        return QvecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"model": HashingEmbedder(), "instruction": "code_search"}


@anyio
class TestIntegrationWithQwen3(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _load(self, qwen: TransformerEmbedder) -> None:
        self.loaded = qwen

    @property
    def embeddings_class(self) -> type[QvecEmbeddings]:
        return QvecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"model": self.loaded, "instruction": "question_answering"}


def test_the_query_instruction_is_applied(qwen):
    plain, coder = QvecEmbeddings(qwen), QvecEmbeddings(qwen, instruction="code_search")
    assert plain.embed_query("read") == pytest.approx(qwen.encode_query(["read"])[0].tolist())
    assert coder.embed_query("read") == pytest.approx(
        qwen.encode_query(["read"], instruction="code_search")[0].tolist()
    )
    assert np.abs(np.subtract(plain.embed_query("read"), coder.embed_query("read"))).max() > 0.01


def test_newlines_are_kept(qwen):
    code, flat = QvecEmbeddings(qwen).embed_documents(["a\n    b", "a b"])
    assert code == pytest.approx(qwen.encode_document(["a\n    b"])[0].tolist(), abs=1e-3)
    assert np.abs(np.subtract(code, flat)).max() > 0.01


def test_a_name_with_a_dim_loads_the_model():
    assert len(QvecEmbeddings("hashing", dim=48).embed_query("read")) == 48


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="hashing"):
        QvecEmbeddings("hashign")


def test_no_documents_give_no_vectors():
    assert QvecEmbeddings("hashing").embed_documents([]) == []


class Waiting(HashingEmbedder):
    """Embed once somebody else got to run."""

    def __init__(self) -> None:
        super().__init__()
        self.ran = threading.Event()

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        assert self.ran.wait(60), "the event loop stood still"
        return super().encode_document(texts)


def test_async_calls_leave_the_event_loop_free_and_answer_the_same():
    waiting = Waiting()
    embeddings = QvecEmbeddings(waiting)

    async def run() -> list[list[float]]:
        task = asyncio.create_task(embeddings.aembed_documents(["read the csv file"]))
        await asyncio.sleep(0.01)
        assert not task.done()
        waiting.ran.set()
        return await task

    rows = asyncio.run(run())
    assert rows == embeddings.embed_documents(["read the csv file"])
    assert asyncio.run(embeddings.aembed_query("read")) == embeddings.embed_query("read")


def test_a_vector_store_of_langchain_finds_the_document():
    store = InMemoryVectorStore(QvecEmbeddings("hashing"))
    store.add_texts(["parse arguments", "read a csv file", "open a socket"])
    assert store.similarity_search("csv file", k=1)[0].page_content == "read a csv file"


def test_without_langchain_the_pip_line_is_given():
    code = (
        "import sys; sys.modules['langchain_core.embeddings'] = None\n"
        "from qvec.errors import MissingDriverError\n"
        "try:\n    import qvec.integrations.langchain\n"
        "except MissingDriverError as exc:\n    print(exc)\n"
    )
    folder = Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert found.stdout.strip() == 'langchain-core is not installed: pip install "qvec[langchain]"'
