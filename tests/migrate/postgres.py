"""The driver, where it is installed."""

from __future__ import annotations

import time

import pytest

psycopg = pytest.importorskip("psycopg")


def own_database(server: str, name: str) -> str:
    """The URI of an empty database of this name beside the server's own."""
    with psycopg.connect(server, autocommit=True) as db:
        database = psycopg.sql.Identifier(name)
        db.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        db.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(database))
    return server.replace("/postgres?", f"/{name}?")


def wait_until_alone(address: str) -> None:
    """Wait until the server has noticed that those who were connected are gone; it ends their statements first."""
    others = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(address, autocommit=True) as db:
        while db.execute(others).fetchone() != (0,):
            time.sleep(0.02)
