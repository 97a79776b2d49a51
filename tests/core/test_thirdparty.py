"""A stranger's adapter comes in by our door: installed from outside, found by its name, judged by the suite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parents[1] / "thirdparty" / "qvec_toy"
ROOT = TOY.parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the toy's distribution into a folder of its own, without the network."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source = shutil.copytree(TOY, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    _run([sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(source)], folder)
    return folder / "site"


def test_an_installed_adapter_is_found_by_its_name(site: Path):
    code = (
        "from qvec.registry import adapter_class, adapter_names, open_adapter\n"
        "assert 'toy' in adapter_names() and 'memory' in adapter_names(), adapter_names()\n"
        "assert adapter_class('toy').__module__ == 'qvec_toy'\n"
        "assert open_adapter('toy://').list_collections() == []\n"
    )
    _run([sys.executable, "-c", code], site, site)


def test_an_installed_adapter_serves_the_two_calls(site: Path, tmp_path: Path):
    code = (
        "import qvec\n"
        "db = qvec.connect('toy:///' + __import__('os').getcwd().lstrip('/') + '/toy.json', model='hashing')\n"
        "db.collection('books').index(['the sea and the ships', 'the mountain and the snow'])\n"
        "assert db.collection('books').search('ships at sea', mode='dense', k=1)[0].text == 'the sea and the ships'\n"
    )
    _run([sys.executable, "-c", code], tmp_path, site)


def test_an_installed_adapter_passes_the_suite_in_two_lines(site: Path):
    tests = site.parent / "source" / "tests"
    # A folder of its own: a pytest that takes the common one closes it to the user that PostgreSQL's tests run as.
    own = f"--basetemp={site.parent / 'tmp'}"
    printed = _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own, str(tests)], tests, site)
    assert "failed" not in printed
    assert int(re.search(r"(\d+) passed", printed)[1]) > 400


@pytest.mark.parametrize("package", ["pytest", "hypothesis"])
def test_the_suite_says_what_it_needs(package: str, tmp_path: Path):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "try: import qvec.testing\n"
        f"except ImportError as exc: assert 'pip install {package}' in str(exc), exc\n"
        "else: raise AssertionError('imported')\n"
    )
    _run([sys.executable, "-c", code], tmp_path)


def _run(command: list[str], folder: Path, *path: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
