"""The same folder through sentence-transformers gives the same vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qvec.embedders.instructions import PRESETS
from qvec.embedders.transformer import TransformerEmbedder
from tests.models import QWEN_DIM, edit_json, write_bert, write_qwen3

pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = [
    "读取CSV文件",
    "def read(path):\n    with open(path) as file:\n        return file.read()\n" * 12,
    "a",
    "",
    "tabs\tand\r\nline ends 🙂 שלום",
    "a\n    b",
    "a b",
]
WORDS = ["read the file", "", "query: a b c (d, e) 文件", "write code", "a"]
TOLERANCE = 1e-3


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> TransformerEmbedder:
    return TransformerEmbedder(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reference(folder: Path):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


@pytest.fixture
def bert(tmp_path: Path) -> Callable[..., tuple[TransformerEmbedder, object]]:
    def make(pooling: str, prompts: dict[str, str] | None = None):
        path = str(write_bert(tmp_path, pooling=pooling, prompts=prompts))
        ours = TransformerEmbedder(path, device="cpu", dtype="float32")
        return ours, sentence_transformers.SentenceTransformer(path, device="cpu")

    return make


def test_documents_of_mixed_lengths_equal_the_reference(embedder, reference):
    np.testing.assert_allclose(embedder.encode_document(TEXTS), reference.encode_document(TEXTS), atol=TOLERANCE)


def test_queries_equal_the_reference_with_the_prompt_of_the_folder(embedder, reference):
    np.testing.assert_allclose(embedder.encode_query(TEXTS), reference.encode_query(TEXTS), atol=TOLERANCE)


def test_queries_with_another_instruction_equal_the_reference(embedder, reference):
    ours = embedder.encode_query(TEXTS, instruction="code_search")
    prompt = f"Instruct: {PRESETS['code_search']}\nQuery:"
    np.testing.assert_allclose(ours, reference.encode(TEXTS, prompt=prompt), atol=TOLERANCE)


@pytest.mark.parametrize("dim", [32, QWEN_DIM // 2, 64, QWEN_DIM])
def test_the_cut_comes_before_the_norm_at_every_dim(folder, reference, dim):
    ours = TransformerEmbedder(str(folder), device="cpu", dtype="float32", dim=dim).encode_document(TEXTS)
    np.testing.assert_allclose(ours, unit(reference.encode_document(TEXTS)[:, :dim]), atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


def test_a_left_padding_tokenizer_changes_nothing(folder, embedder):
    left = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", processor_kwargs={"padding_side": "left"}
    )
    np.testing.assert_allclose(embedder.encode_document(TEXTS), left.encode_document(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_bert_equals_the_reference(bert, pooling):
    ours, reference = bert(pooling)
    assert ours.pooling == pooling
    np.testing.assert_allclose(
        ours.encode_document(WORDS), reference.encode(WORDS, normalize_embeddings=True), atol=TOLERANCE
    )


def test_fixed_prefixes_equal_the_reference(bert):
    ours, reference = bert("mean", {"query": "query: ", "passage": "passage: "})
    np.testing.assert_allclose(ours.encode_query(WORDS), reference.encode_query(WORDS), atol=TOLERANCE)
    # sentence-transformers 6.2 overlooks "passage" in encode_document: it has put an empty "document" beside it.
    passages = reference.encode(WORDS, prompt_name="passage")
    np.testing.assert_allclose(ours.encode_document(WORDS), passages, atol=TOLERANCE)
    assert np.abs(ours.encode_query(WORDS) - ours.encode_document(WORDS)).max() > 10 * TOLERANCE


def test_a_bert_without_a_tokenizer_json_equals_the_reference(tmp_path):
    write_bert(tmp_path, pooling="mean")
    (tmp_path / "tokenizer.json").unlink()
    reference = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    ours = TransformerEmbedder(str(tmp_path), device="cpu", dtype="float32")
    np.testing.assert_allclose(ours.encode_document(WORDS), reference.encode(WORDS), atol=TOLERANCE)


def test_a_pooling_config_of_the_newer_form_is_read(tmp_path):
    write_bert(tmp_path, pooling="mean")
    (tmp_path / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 48, "pooling_mode": "cls"}')
    reference = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    ours = TransformerEmbedder(str(tmp_path), device="cpu", dtype="float32")
    np.testing.assert_allclose(ours.encode_document(WORDS), reference.encode(WORDS), atol=TOLERANCE)


def test_lower_casing_by_the_folder_equals_the_reference(tmp_path):
    write_bert(tmp_path, pooling="mean")
    edit_json(tmp_path / "sentence_bert_config.json", do_lower_case=True)
    reference = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    ours = TransformerEmbedder(str(tmp_path), device="cpu", dtype="float32")
    np.testing.assert_allclose(ours.encode_document(["READ"]), reference.encode(["READ"]), atol=TOLERANCE)
