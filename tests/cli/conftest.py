"""A working folder with a small project, and ways to run the command line in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qvec.cli.app import cli
from qvec.errors import MissingDriverError
from qvec.registry import adapter_class
from tests.conftest import required

FILES = {
    "reader.py": '''"""Reading tables."""


def read_csv(path):
    """读取CSV文件, one dict for each row."""
    with open(path) as file:
        header = next(file).split(",")
        return [dict(zip(header, line.split(","))) for line in file]
''',
    "net/retry.py": '''"""Calling again what failed."""


def call_with_retries(call, times):
    """Call a function until it succeeds, waiting longer each time."""
    for attempt in range(times):
        try:
            return call()
        except OSError:
            time.sleep(2 ** attempt)
''',
    "README.md": "# The project\n\nHow to install it: run the installer, and say yes to everything it asks of you.\n",
    "picture.png": "\0\0",
    "ignored.log": "x",
    ".gitignore": "*.log\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "my-project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "my-project"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The test's environment without anything that configures qvec."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("QVEC_")}
    return {**kept, "HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "", "QVEC_MODEL": "hashing"}


@pytest.fixture
def workplace(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, where ``.qvec`` will lie."""
    try:
        adapter_class("faiss")
    except MissingDriverError as exc:
        if required("faiss"):
            raise
        pytest.skip(str(exc))
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    for key in set(os.environ) - set(environment):
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    return place


Run = Callable[..., Result]


@pytest.fixture
def qvec(workplace: Path) -> Run:
    """Run the command line in this process."""

    def run(*arguments: str | Path, input: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def indexed(qvec: Run, project: Path) -> Run:
    """The same, once the project is indexed."""
    result = qvec("index", project)
    assert result.exit_code == 0, result.stderr
    return qvec


@pytest.fixture
def process(workplace: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m qvec`` as a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "qvec", *map(str, arguments)]
        return subprocess.run(
            command, cwd=workplace, env=environment, capture_output=True, encoding="utf-8", timeout=200
        )

    return run
