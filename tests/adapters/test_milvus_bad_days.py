"""Milvus on bad days: no server, a wrong file, a file in use, a collection that is somebody else's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pymilvus.exceptions
import pytest
from qvec_milvus import errors

from qvec.adapter import Adapter
from qvec.errors import BackendConnectionError, CollectionExistsError, ConfigError, InvalidInputError, QvecError
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document
from tests.adapters.servers import free_port


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    opened = open_adapter(f"milvus:{tmp_path}/milvus.db")
    yield opened
    opened.close()


def test_a_server_that_is_down_is_a_connection_error_within_seconds_and_tells_no_password() -> None:
    started = time.monotonic()
    with pytest.raises(BackendConnectionError) as caught:
        open_adapter(f"milvus://root:tru5tn01@127.0.0.1:{free_port()}/?timeout=3")
    assert time.monotonic() - started < 100
    assert "tru5tn01" not in f"{caught.value} {caught.value.__cause__}"


def test_a_text_file_in_place_of_the_store_is_a_connection_error(tmp_path: Path) -> None:
    (tmp_path / "taken.db").write_text("this is no Milvus Lite store")
    with pytest.raises(BackendConnectionError, match="taken"):
        open_adapter(f"milvus:{tmp_path}/taken.db")


def test_a_second_process_on_one_file_is_told_that_it_is_in_use_and_harms_nothing(
    adapter: Adapter, tmp_path: Path
) -> None:
    adapter.create_collection(CollectionSpec("c", 2))
    adapter.upsert("c", [Document("x", "x")], np.ones((1, 2), np.float32))
    code = (
        "import sys\n"
        "from qvec.registry import open_adapter\n"
        "from qvec.errors import BackendConnectionError\n"
        "try: open_adapter(sys.argv[1])\n"
        "except BackendConnectionError as exc: print('refused', exc)\n"
    )
    command = [sys.executable, "-c", code, f"milvus:{tmp_path}/milvus.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused")
    assert adapter.count("c") == 1


def test_a_collection_that_is_not_ours_is_neither_listed_nor_taken(adapter: Adapter) -> None:
    client = adapter._connection.client
    client.create_collection("theirs", dimension=4)
    assert adapter.list_collections() == []
    with pytest.raises(CollectionExistsError, match="not qvec's"):
        adapter.create_collection(CollectionSpec("theirs", 4), exist_ok=True)


def test_a_text_over_the_limit_is_refused_by_name_and_nothing_is_written(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("c", 2))
    limit = adapter.capabilities.max_text_bytes
    assert limit is not None
    long = Document("long", "é" * (limit // 2 + 1))
    with pytest.raises(InvalidInputError, match="'long'"):
        adapter.upsert("c", [Document("short", "x"), long], np.ones((2, 2), np.float32))
    assert adapter.count("c") == 0


@pytest.mark.parametrize("uri", ["milvus:x.db?speed=fast", "milvus:x.db?timeout=soon", "milvus:"])
def test_a_uri_that_makes_no_sense_is_a_config_error(uri: str) -> None:
    with pytest.raises(ConfigError):
        open_adapter(uri)


def test_every_error_of_the_driver_becomes_one_of_ours() -> None:
    kinds = [
        kind
        for kind in vars(pymilvus.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, pymilvus.exceptions.MilvusException)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        with pytest.raises(QvecError) as caught, errors.mapped("here"):
            raise kind(message="said so")
        assert isinstance(caught.value.__cause__, kind)
        assert any(base.__name__ in errors.MAP for base in kind.__mro__)
