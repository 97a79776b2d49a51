"""The driver, where it is installed."""

from __future__ import annotations

import pytest

psycopg = pytest.importorskip("psycopg")


def own_database(server: str, name: str) -> str:
    """The URI of an empty database of this name beside the server's own."""
    with psycopg.connect(server, autocommit=True) as db:
        database = psycopg.sql.Identifier(name)
        db.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        db.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(database))
    return server.replace("/postgres?", f"/{name}?")
