"""A model on several devices, a process each; here the CPU counts twice."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qvec.database import connect
from qvec.embedder import Embedder
from qvec.embedders.spread import SpreadEmbedder
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import ConfigError, EmbeddingError, InvalidInputError, TextTooLongError
from tests.models import write_bert

pytest.importorskip("torch")

WORDS = ["read the file", "", "query: a b c", "write code", "a", "b " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), pooling="mean", prompts={"query": "query: "})


@pytest.fixture(scope="module")
def spread(folder: Path) -> Iterator[SpreadEmbedder]:
    with SpreadEmbedder(str(folder), ["cpu", "cpu"], dtype="float32") as embedder:
        yield embedder


def test_the_vectors_are_those_of_one_device(folder, spread):
    alone = TransformerEmbedder(str(folder), device="cpu", dtype="float32")
    assert isinstance(spread, Embedder)
    assert (spread.revision, spread.dim, spread.pooling) == (alone.revision, alone.dim, alone.pooling)
    np.testing.assert_allclose(spread.encode_document(WORDS), alone.encode_document(WORDS), atol=1e-5)
    np.testing.assert_allclose(spread.encode_query(WORDS), alone.encode_query(WORDS), atol=1e-5)
    assert spread.count_tokens(WORDS) == alone.count_tokens(WORDS)
    assert spread.encode_document([]).shape == (0, alone.dim)


def test_errors_come_back_as_they_are(spread):
    with pytest.raises(TextTooLongError) as caught:
        spread.encode_document(["a", "a " * 100, "b", "b " * 70])
    assert caught.value.lengths == dict(zip([1, 3], spread.count_tokens(["a " * 100, "b " * 70]), strict=True))
    with pytest.raises(InvalidInputError):
        spread.encode_query(["a"], instruction="read all of this")
    with pytest.raises(EmbeddingError, match=r"text 1 .*NUL"):
        spread.encode_document(["a", "\0"])


def test_a_model_that_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(EmbeddingError, match=r"config\.json"):
        SpreadEmbedder(str(tmp_path), ["cpu"])


def test_no_devices_are_refused(folder):
    with pytest.raises(ConfigError, match="no device"):
        SpreadEmbedder(str(folder), [])


def test_a_process_that_has_ended_is_said(folder):
    with SpreadEmbedder(str(folder), ["cpu"]) as embedder:
        embedder._workers[0]._process.terminate()
        embedder._workers[0]._process.join()
        with pytest.raises(EmbeddingError, match="has ended"):
            embedder.encode_query(["a"])


def test_two_devices_in_one_name_share_the_work_of_a_collection(folder):
    docs = [{"id": str(at), "text": text} for at, text in enumerate(WORDS) if text]
    with connect("memory://spread", device="cpu, cpu") as database:
        collection = database.collection("words", model=str(folder))
        assert collection.index(docs).added == len(docs)
        embedder = collection.embedder
        assert isinstance(embedder, SpreadEmbedder)
        with SpreadEmbedder(str(folder), ["cpu", "cpu"]) as same:
            np.testing.assert_allclose(embedder.encode_document(WORDS), same.encode_document(WORDS), atol=1e-5)
        embedder.close()


def test_processes_end_with_the_embedder_that_nobody_holds_any_more(folder):
    embedder = SpreadEmbedder(str(folder), ["cpu"])
    [process] = [worker._process for worker in embedder._workers]
    del embedder
    gc.collect()
    assert not process.is_alive()
