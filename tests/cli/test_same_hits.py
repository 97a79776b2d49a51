"""The same question on the same collection in every database: the same hits in the same order."""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from qvec.registry import open_adapter
from tests.adapters.elasticsearch_node import elasticsearch_uri
from tests.adapters.milvus_server import milvus_uri
from tests.cli.conftest import Run

QUESTIONS = ["读取CSV文件", "how does the decoder report where an error is", "writerow"]
MODULES = ("csv.py", "configparser.py", "fileinput.py", "shelve.py", "tempfile.py", "json")
COLLECTION = "same_hits"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Some modules of the standard library: a few hundred chunks."""
    standard, folder = Path(sysconfig.get_path("stdlib")), tmp_path / "library"
    folder.mkdir()
    for name in MODULES:
        if (standard / name).is_dir():
            shutil.copytree(standard / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(standard / name, folder)
    return folder


def asked(qvec: Run, backend: str) -> dict[str, list[tuple[str, float]]]:
    """Ask ``qvec search QUESTION --backend NAME``."""
    found = {}
    for question in QUESTIONS:
        result = qvec("search", question, "--backend", backend, "--collection", COLLECTION, "--json")
        assert result.exit_code == 0, result.stderr
        found[question] = [(hit["id"], hit["score"]) for hit in json.loads(result.stdout)["hits"]]
    return found


def agree(qvec: Run, library: Path, backend: str) -> None:
    """Index the library in FAISS and in another database, and compare what is found."""
    for each in ("faiss", backend):
        made = qvec("index", library, "--backend", each, "--collection", COLLECTION, "--model", "bundled")
        assert made.exit_code == 0, made.stderr
    expected, found = asked(qvec, "faiss"), asked(qvec, backend)
    assert expected[QUESTIONS[0]][0][0].startswith("csv.py")
    for question in QUESTIONS:
        assert len(expected[question]) == 10
        assert [id for id, _ in found[question]] == [id for id, _ in expected[question]], question
        scores = [score for _, score in expected[question]]
        assert [score for _, score in found[question]] == pytest.approx(scores, abs=1e-3), question


@pytest.mark.parametrize("backend", ["pgvector", "milvus"])
def test_an_embedded_database_prints_what_faiss_prints(qvec: Run, library: Path, backend: str) -> None:
    agree(qvec, library, backend)


@pytest.fixture(scope="module", params=["elasticsearch", "milvus"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A backend's name and the address of its server, without the collection."""
    uri = elasticsearch_uri() if request.param == "elasticsearch" else milvus_uri()
    yield request.param, uri
    adapter = open_adapter(uri)
    adapter.drop_collection(COLLECTION, missing_ok=True)
    adapter.close()


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_server_s_profile_prints_what_faiss_prints(
    server: tuple[str, str], qvec: Run, library: Path, workplace: Path
) -> None:
    name, uri = server
    (workplace / "qvec.toml").write_text(f'[profiles.{name}]\nuri = "{uri}"\n')
    agree(qvec, library, name)
