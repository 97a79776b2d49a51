"""Every database for the frameworks: the embedded ones always, a server of each kind among the slow tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qvec.database import Database
from qvec.errors import MissingDriverError
from qvec.registry import embedded_uri, open_adapter
from tests.adapters.elasticsearch_node import elasticsearch_uri
from tests.adapters.milvus_server import milvus_uri
from tests.adapters.servers import postgresql_uri
from tests.conftest import EMBEDDED, required

# Frameworks are not to report the tests to their makers.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")

SERVERS: dict[str, Callable[[Path], str]] = {
    "elasticsearch-server": lambda folder: elasticsearch_uri(),
    "pgvector-server": postgresql_uri,
    "milvus-server": lambda folder: milvus_uri(),
}
_AS_SERVER = (pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900))
"""The first test may have to fetch the server."""


@pytest.fixture(scope="session")
def server_uris() -> dict[str, str]:
    """The servers that were started so far."""
    return {}


@pytest.fixture(params=[*EMBEDDED, *(pytest.param(name, marks=_AS_SERVER) for name in SERVERS)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(
    backend: str, embedded_folder: Path, server_uris: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database with nothing of a framework in it; a server that was named keeps what else it holds."""
    if backend in SERVERS and backend not in server_uris:
        server_uris[backend] = SERVERS[backend](tmp_path_factory.mktemp("server"))
    try:
        adapter = open_adapter(server_uris.get(backend) or embedded_uri(backend, embedded_folder))
    except MissingDriverError as exc:
        if required(backend.removesuffix("-server")):
            raise
        pytest.skip(str(exc))
    with Database(adapter, model="hashing") as opened:
        before = set(opened.collections())
        yield opened
        for name in set(opened.collections()) - before:
            opened.drop(name)
