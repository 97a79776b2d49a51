"""What all tests share: one database of each embedded kind, and the rule about skipping."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from qvec.database import Database
from qvec.errors import MissingDriverError
from qvec.registry import embedded_uri, open_adapter

EMBEDDED = ["memory", "faiss", "pgvector", "milvus"]


def required(backend: str) -> bool:
    """Whether skipping this backend is a failure (QVEC_TEST_REQUIRE: names, or all)."""
    names = os.environ.get("QVEC_TEST_REQUIRE", "").replace(" ", "").split(",")
    return "all" in names or backend in names


def shared_data(name: str) -> Path:
    """A folder of the retrieval sets, which are not part of the project; skips where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("QVEC_SHARED_DATA", default)) / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not there: set QVEC_SHARED_DATA to the folder of the retrieval sets")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return shared_data("")


@pytest.fixture(scope="session")
def embedded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(params=EMBEDDED)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(backend: str, embedded_folder: Path) -> Iterator[Database]:
    """An embedded database with nothing in it."""
    try:
        adapter = open_adapter(embedded_uri(backend, embedded_folder))
    except MissingDriverError as exc:
        if required(backend):
            raise
        pytest.skip(str(exc))
    with Database(adapter, model="hashing") as opened:
        for name in opened.collections():
            opened.drop(name)
        yield opened


@pytest.fixture
def servers_end(tmp_path: Path) -> Iterator[None]:
    """Stop the embedded PostgreSQL of processes that were killed: it waits for them, and would outlive the tests."""
    yield
    for place in tmp_path.rglob("postmaster.pid"):
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(place.read_text().split()[0]), signal.SIGINT)
