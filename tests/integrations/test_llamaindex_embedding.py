"""Our class inside LlamaIndex: its calls, its storage form, an index from end to end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qvec.embedders.hashing import HashingEmbedder
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import ConfigError
from tests.models import write_qwen3

pytest.importorskip("llama_index.core")

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding

from qvec.integrations.llamaindex import QvecEmbedding


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> TransformerEmbedder:
    pytest.importorskip("torch")
    return TransformerEmbedder(str(write_qwen3(tmp_path_factory.mktemp("qwen3"))), device="cpu", dtype="float32")


@pytest.fixture
def hashing() -> QvecEmbedding:
    return QvecEmbedding(model_name="hashing", dim=64)


def test_a_name_loads_the_model_and_the_fields_tell_its_shape(hashing):
    assert isinstance(hashing, BaseEmbedding)
    assert (hashing.model_name, hashing.dim) == ("hashing", 64)
    assert len(hashing.get_text_embedding("read")) == 64


def test_a_loaded_model_is_taken_as_it_is(qwen):
    embedding = QvecEmbedding(embedder=qwen)
    assert (embedding.model_name, embedding.dim) == (qwen.model_id, qwen.dim)


def test_the_query_instruction_is_applied(qwen):
    plain, coder = QvecEmbedding(embedder=qwen), QvecEmbedding(embedder=qwen, instruction="code_search")
    expected = qwen.encode_query(["read"], instruction="code_search")[0].tolist()
    assert coder.get_query_embedding("read") == pytest.approx(expected)
    assert np.abs(np.subtract(plain.get_query_embedding("read"), expected)).max() > 0.01


def test_newlines_are_kept(qwen):
    code, flat = QvecEmbedding(embedder=qwen).get_text_embedding_batch(["a\n    b", "a b"])
    assert code == pytest.approx(qwen.encode_document(["a\n    b"])[0].tolist(), abs=1e-3)
    assert np.abs(np.subtract(code, flat)).max() > 0.01


def test_batches_come_back_in_order(hashing):
    texts = [f"text {number}" for number in range(25)]
    assert hashing.get_text_embedding_batch(texts) == [hashing.get_text_embedding(text) for text in texts]


def test_async_calls_answer_as_the_others(hashing):
    async def ask() -> tuple[object, object, object]:
        return (
            await hashing.aget_query_embedding("read"),
            await hashing.aget_text_embedding("read"),
            await hashing.aget_text_embedding_batch(["read", "write"]),
        )

    query, text, texts = asyncio.run(ask())
    assert query == hashing.get_query_embedding("read")
    assert text == hashing.get_text_embedding("read")
    assert texts == hashing.get_text_embedding_batch(["read", "write"])


def test_its_json_form_loads_the_same_model_again():
    embedding = QvecEmbedding(embedder=HashingEmbedder(dim=96), instruction="code_search", embed_batch_size=7)
    stored = json.loads(embedding.to_json())
    assert (stored["model_name"], stored["dim"], stored["instruction"]) == ("hashing", 96, "code_search")
    again = QvecEmbedding.from_dict(stored)
    assert (again.instruction, again.embed_batch_size) == ("code_search", 7)
    assert again.get_query_embedding("read") == embedding.get_query_embedding("read")


def test_a_dim_that_the_loaded_model_has_not_is_refused():
    with pytest.raises(ValueError, match="dim=32"):
        QvecEmbedding(embedder=HashingEmbedder(dim=64), dim=32)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean hashing") as caught:
        QvecEmbedding(model_name="hashign")
    assert not isinstance(caught.value, ConfigError)


def test_an_index_in_memory_finds_the_document(hashing):
    texts = ["parse command line arguments", "read a csv file\n    with a header", "open a socket"]
    index = VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=hashing)
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("csv header")
    assert found.node.get_content() == texts[1]


def test_without_llamaindex_the_pip_line_is_given():
    code = (
        "import sys; sys.modules['llama_index.core.base.embeddings.base'] = None\n"
        "from qvec.errors import MissingDriverError\n"
        "try:\n    import qvec.integrations.llamaindex\n"
        "except MissingDriverError as exc:\n    print(exc)\n"
    )
    folder = Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert found.stdout.strip() == 'llama-index-core is not installed: pip install "qvec[llamaindex]"'
