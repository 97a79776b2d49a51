"""A real Milvus server for the tests: named by the environment, in a container, or PyPI's `milvus`."""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.adapters.servers import answers, docker_answers, free_port, once, started, wait_until_up

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("QVEC_TEST_CACHE", ROOT / ".cache")) / "milvus-2.3.5"
START_SECONDS = 120

# The starter's own wait for the server is three minutes long, also for one that has ended.
RUN = """
import select, sys
from milvus import MilvusServer
server = MilvusServer(wait_for_started=False)
server.set_base_dir(sys.argv[1])
server.config.set("proxy_port", int(sys.argv[2]))
server.start()
print(server.listen_port, server.webservice_port, flush=True)
while server.server_proc.poll() is None and not select.select([sys.stdin], [], [], 0.2)[0]:
    pass
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


@once
def milvus_uri() -> str:
    """Start a server, or name the one that QVEC_TEST_MILVUS_URI names; it ends with this process."""
    named = os.environ.get("QVEC_TEST_MILVUS_URI")
    if named:
        return named
    if docker_answers():
        from testcontainers.milvus import MilvusContainer

        container = MilvusContainer().start()
        atexit.register(container.stop)
        return f"milvus://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
    return started(_start)


def _start() -> str:
    folder = Path(tempfile.mkdtemp(prefix="qvec-milvus-"))
    server = subprocess.Popen(
        [str(_python()), "-c", RUN, str(folder), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env={**os.environ, **_settings(folder)},
        start_new_session=True,
    )
    atexit.register(_stop, server, folder)
    assert server.stdin is not None
    assert server.stdout is not None
    ports = server.stdout.readline().split()
    assert len(ports) == 2, f"Milvus's starter ended with {server.wait()}"
    port, health = map(int, ports)
    wait_until_up(
        server,
        lambda: _is_well(health) and answers(port),
        seconds=START_SECONDS,
        logs=folder / "logs",
        end=lambda: _stop(server, folder),
    )
    return f"milvus://127.0.0.1:{port}"


def _settings(folder: Path) -> dict[str, str]:
    """Milvus 2.3 takes any setting from the environment, under its name in capitals.

    Its etcd gets free ports, or a second server on this machine would end at once. A strong read waits for a tick,
    which comes every 200 ms unless it is told.
    """
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    config = folder / "etcd.yaml"
    config.write_text(ETCD.format(client=client, peer=peer))
    return {"ETCD_CONFIG_PATH": str(config), "PROXY_TIMETICKINTERVAL": "50"}


def _is_well(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3) as answer:
            return b"OK" in answer.read()
    except urllib.error.HTTPError as exc:
        exc.close()
        return False
    except (OSError, http.client.HTTPException):
        return False


def _python() -> Path:
    """The interpreter of a virtual environment that holds the server, made once."""
    python = HOME / "bin" / "python"
    if not (HOME / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "milvus==2.3.5", "setuptools<81"], check=True)
        (HOME / "installed").touch()
    return python


def _stop(server: subprocess.Popen[str], folder: Path) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    server.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)
