"""kill -9 at random points of an attach in Milvus and of its undo: run again, nothing is lost or there twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from qvec.migrate import Attached, IndexJob, attach_index, undo, verify
from qvec.registry import embedded_uri
from qvec.uri import URI
from tests.migrate.collections import ROWS, content, lite_client, make, row
from tests.migrate.test_killed import POINTS, Kills, killed_after

pytest.importorskip("pymilvus")
FEW = 6
NAME = "articles"


def run_attach(address: str) -> None:
    attach_index(IndexJob(url=address, index=NAME, text="body", model="hashing", dim=64))


def run_undo(address: str) -> None:
    undo(Attached(url=address, collection=NAME))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the other program's collection."""
    address = embedded_uri("milvus", tmp_path_factory.mktemp("killed") / "db").reveal()
    with lite_client(address) as client:
        make(client, NAME)
    return Path(URI.parse(address).path)


@pytest.fixture(scope="module")
def attached(untouched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, attached, with a row that was written since."""
    address = copied(untouched, tmp_path_factory.mktemp("attached"))
    with lite_client(address) as client:
        run_attach(address)
        written(client)
    return Path(URI.parse(address).path)


def copied(database: Path, folder: Path) -> str:
    """The address of a copy that is a test's own."""
    shutil.copytree(database, folder / database.name)
    return f"milvus:{folder / database.name}"


def written(client: Any) -> dict[object, object]:
    """Let the other program write a row, into the twin with a vector of zeros; return all that it sees then."""
    client.load_collection(NAME)
    fields = {field["name"] for field in client.describe_collection(NAME)["fields"]}
    ours = {name: [0.0] * 64 if name.endswith("vector") else "" for name in fields if "qvec" in name}
    client.upsert(NAME, [{**row(5, text="written meanwhile"), **ours}])
    return content(client, NAME)


@pytest.mark.parametrize("count", [FEW, pytest.param(POINTS, marks=pytest.mark.slow)])
def test_an_attach_killed_at_any_point_is_finished_by_the_next(count: int, untouched: Path, tmp_path: Path) -> None:
    whole = copied(untouched, tmp_path / "whole")
    kill = Kills(lambda: killed_after(200, run_attach, whole), seed=count)
    for number in kill.points(count):
        address = copied(untouched, tmp_path / str(number))
        kill(run_attach, address)
        with lite_client(address) as client:
            held = written(client) if client.has_collection(NAME) else {}
            run_attach(address)
            found = verify(Attached(url=address, collection=NAME))
            assert (found.rows, found.records, found.is_same) == (ROWS, ROWS, True)
            run_undo(address)
            assert client.list_collections() == [NAME]
            assert held in ({}, content(client, NAME))


def test_a_file_that_is_opened_anew_is_verified(attached: Path, tmp_path: Path) -> None:
    address = copied(attached, tmp_path)
    with lite_client(address):
        assert verify(Attached(url=address, collection=NAME)).counts == {"missing": 1}


@pytest.mark.parametrize("count", [FEW, pytest.param(POINTS, marks=pytest.mark.slow)])
def test_an_undo_killed_at_any_point_is_finished_by_the_next(count: int, attached: Path, tmp_path: Path) -> None:
    whole = copied(attached, tmp_path / "whole")
    kill = Kills(lambda: killed_after(200, run_undo, whole), seed=count)
    for number in kill.points(count):
        address = copied(attached, tmp_path / str(number))
        kill(run_undo, address)
        with lite_client(address) as client:
            if client.has_collection(f"{NAME}_qvec"):
                run_undo(address)
            assert client.list_collections() == [NAME]
            client.load_collection(NAME)
            held = content(client, NAME)
            assert (len(held), held[5]["body"]) == (ROWS, "written meanwhile")
