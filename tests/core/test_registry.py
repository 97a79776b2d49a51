"""Finding adapters and models by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import ConfigError, EmbeddingError, UnknownAdapterError
from qvec.registry import adapter_class, adapter_names, embedded_uri, load_embedder, open_adapter, takes_device
from qvec.uri import URI


def test_our_own_adapters_come_in_by_entry_point() -> None:
    assert {"faiss", "memory", "milvus", "pgvector", "postgresql"} <= set(adapter_names())


@pytest.mark.parametrize(("asked", "meant"), [("milvsu", "milvus"), ("postgres-ql", "postgresql"), ("fais", "faiss")])
def test_an_unknown_backend_is_an_error_that_offers_the_nearest(asked: str, meant: str) -> None:
    with pytest.raises(UnknownAdapterError, match=f"did you mean {meant}"):
        adapter_class(asked)


def test_a_uri_without_a_known_scheme_is_an_error() -> None:
    with pytest.raises(UnknownAdapterError, match="oracle"):
        open_adapter("oracle://host/db")


def test_an_adapter_that_cannot_be_loaded_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[qvec.adapters]\nbroken = no_such_module:Adapter\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConfigError, match="no_such_module"):
        adapter_class("broken")


def test_the_embedded_database_lies_in_the_folder(tmp_path: Path) -> None:
    uri = embedded_uri("faiss", tmp_path)
    assert isinstance(uri, URI)
    assert uri.path.startswith(str(tmp_path))


def test_a_model_is_found_by_kind_and_by_hugging_face_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_embedder("hashing", dim=64), HashingEmbedder)
    with pytest.raises(ConfigError, match="unknown model 'hashin'; did you mean hashing"):
        load_embedder("hashin")


def test_a_model_folder_that_is_not_there_is_an_embedding_error(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(EmbeddingError):
        load_embedder(f"transformer:{tmp_path / 'nothing'}")


@pytest.mark.parametrize("model", ["bundled", "hashing"])
def test_a_device_for_a_model_that_has_no_choice_is_refused(model: str) -> None:
    assert not takes_device(model)
    with pytest.raises(ConfigError, match=f"'{model}' does not run in torch here"):
        load_embedder(model, device="cpu")
    assert takes_device("some/hugging-face-name")
