"""A real Milvus server for the tests: named by the environment, in a container, or PyPI's `milvus`."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from tests.adapters.servers import docker_answers, free_port

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("QVEC_TEST_CACHE", ROOT / ".cache")) / "milvus-2.3.5"
START_SECONDS = 120

RUN = """
import sys
from milvus import MilvusServer
server = MilvusServer()
server.set_base_dir(sys.argv[1])
server.config.set("proxy_port", int(sys.argv[2]))
server.start()
print("ready", server.listen_port, flush=True)
sys.stdin.read()
server.stop()
"""

ETCD = """
name: qvec
listen-client-urls: {client}
advertise-client-urls: {client}
listen-peer-urls: {peer}
initial-advertise-peer-urls: {peer}
initial-cluster: qvec={peer}
"""


def milvus_uri() -> str:
    """Start a server, or name the one that QVEC_TEST_MILVUS_URI names; it ends with this process.

    There is one for all tests. What the first start failed with, every later call fails with too.
    """
    uri, failure = _server()
    if failure:
        pytest.fail(failure)
    return uri


@cache
def _server() -> tuple[str, str]:
    """The server's URI, and why there is none."""
    try:
        return _named_or_started(), ""
    except (AssertionError, OSError, subprocess.SubprocessError) as exc:
        return "", f"no Milvus server: {exc}"


def _named_or_started() -> str:
    named = os.environ.get("QVEC_TEST_MILVUS_URI")
    if named:
        return named
    if docker_answers():
        from testcontainers.milvus import MilvusContainer

        container = MilvusContainer().start()
        atexit.register(container.stop)
        return f"milvus://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
    return _start(Path(tempfile.mkdtemp(prefix="qvec-milvus-")))


def _start(folder: Path) -> str:
    server = subprocess.Popen(
        [str(_python()), "-c", RUN, str(folder), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env={**os.environ, **_settings(folder)},
    )
    atexit.register(_stop, server, folder)
    assert server.stdout is not None
    started = time.monotonic()
    for line in server.stdout:
        if line.startswith("ready"):
            port = int(line.split()[1])
            _check_up(port, folder)
            return f"milvus://127.0.0.1:{port}"
        assert time.monotonic() - started < START_SECONDS, "Milvus did not start in time"
    raise AssertionError(f"Milvus ended with {server.wait()} before it was ready; its logs are under {folder}")


def _settings(folder: Path) -> dict[str, str]:
    """Milvus 2.3 takes any setting from the environment, under its name in capitals.

    Its etcd gets free ports, or a second server on this machine would end at once. A strong read waits for a tick,
    which comes every 200 ms unless it is told.
    """
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    config = folder / "etcd.yaml"
    config.write_text(ETCD.format(client=client, peer=peer))
    return {"ETCD_CONFIG_PATH": str(config), "PROXY_TIMETICKINTERVAL": "50"}


def _check_up(port: int, folder: Path) -> None:
    """The server's starter calls it ready also when it has ended."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError as exc:
        logs = sorted((folder / "logs").glob("milvus-std*.log"))
        log = " ".join(path.read_text(errors="replace")[-500:] for path in logs)
        raise AssertionError(f"Milvus ended as it started ({exc}): {log}") from exc


def _python() -> Path:
    """The interpreter of a virtual environment that holds the server, made once."""
    python = HOME / "bin" / "python"
    if not (HOME / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "milvus==2.3.5", "setuptools<81"], check=True)
        (HOME / "installed").touch()
    return python


def _stop(server: subprocess.Popen[str], folder: Path) -> None:
    if server.stdin:
        server.stdin.close()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdout:
        server.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)
