"""An attached Milvus collection gets another model's vectors while it is searched and written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
from qvec.errors import CollectionExistsError, InvalidInputError
from qvec.migrate import (
    Attached,
    CopyProgress,
    MigrationError,
    SwapJob,
    attach_index,
    end_swap,
    layout_of,
    plan_swap,
    plan_undo,
    roll_back,
    swap,
    undo,
    verify,
)
from qvec.registry import load_embedder
from qvec.uri import URI
from tests.migrate.collections import ROWS, content, lite_client, make, row
from tests.migrate.editing import Editing
from tests.migrate.searching import dim_of, found_throughout, is_right
from tests.migrate.test_collection_attach import address, client, job, name
from tests.migrate.test_collection_killed import FEW, NAME, attached, copied, untouched
from tests.migrate.test_killed import POINTS, Kills, killed_after

pytest.importorskip("pymilvus")
__all__ = ["address", "attached", "client", "name", "untouched"]


def swap_job(address: str, name: str, **more: object) -> SwapJob:
    return SwapJob(url=address, collection=name, **{"dim": 32, **more})


def write(client: Any, name: str, *rows: dict[str, object]) -> None:
    """Write by the name as the other program does: with zeros for the vector and nothing for the hashes."""
    fields = {field["name"]: field for field in client.describe_collection(name)["fields"]}
    ours: dict[str, object] = {
        key: [0.0] * int(field["params"]["dim"]) if key.endswith("vector") else ""
        for key, field in fields.items()
        if "qvec" in key
    }
    kept = {*fields, "free"}
    client.upsert(name, [{key: value for key, value in each.items() if key in kept} | ours for each in rows])


def test_a_swap_changes_model_and_dim_and_can_be_rolled_back(address: str, client: Any, name: str) -> None:
    make(client, name)
    attach_index(job(address, name))
    before = content(client, name)
    assert plan_swap(swap_job(address, name))[0].startswith(f"make the Milvus collection {name}_qvec_swap ")
    report = swap(swap_job(address, name))
    assert (report.is_switched, report.records, report.followed, report.dim) == (True, ROWS, ROWS, 32)
    assert report.recall == pytest.approx(1, abs=0.1)
    assert (dim_of(address, name), content(client, name)) == (32, before)
    assert is_right(address, name)
    write(client, name, row(5, text="written since"), row(1000, text="a new row"))
    client.delete(name, ids=[6])
    report = roll_back(swap_job(address, name))
    assert (report.is_switched, report.followed, report.dim) == (False, 2, 64)
    assert is_right(address, name)
    held = content(client, name)
    assert (held[5]["body"], held[1000]["body"], 6 in held, len(held)) == ("written since", "a new row", False, ROWS)
    assert roll_back(swap_job(address, name)).followed == 0
    assert swap(swap_job(address, name)).followed == 2
    end_swap(swap_job(address, name))
    assert (content(client, name), is_right(address, name)) == (held, True)
    assert not client.has_collection(f"{name}_qvec")
    with pytest.raises(MigrationError, match="was not swapped"):
        roll_back(swap_job(address, name))
    report = swap(swap_job(address, name, dim=16))
    assert (report.followed, dim_of(address, name)) == (ROWS, 16)
    undo(Attached(url=address, collection=name))
    assert [each for each in client.list_collections() if each.startswith(name)] == [name]
    assert len(content(client, name)) == ROWS


def test_what_is_edited_and_deleted_meanwhile_is_right_and_the_collection_is_searched_throughout(
    address: str, client: Any, name: str
) -> None:
    make(client, name)
    attach_index(job(address, name))
    with qvec.connect(address) as database:
        articles = database.collection(name)

        def look() -> None:
            for mode in ("dense", "hybrid", "lexical"):
                hits = articles.search("article 77 about topic0", k=3, mode=mode, where="lang = 'en'")
                assert (hits[0].id, set(hits[0].metadata)) == ("77", {"lang", "tags", "about", "free"})

        def edit(number: int) -> None:
            rows = [row(place, text=f"edit {number} of {place}") for place in range(0, ROWS, 50)]
            write(client, name, *rows, row(2000 + number), {**row(100 + number), "lang": "xx"})
            client.delete(name, ids=[number])
            look()

        look()
        embedder = Editing(load_embedder("hashing", dim=32), edit)
        assert swap(swap_job(address, name, dim=None, embedder=embedder)).is_switched
        look()
        assert articles.search("edit 3 of 50", k=1)[0].id == "50"
        end_swap(swap_job(address, name))
        look()
    held = content(client, name)
    assert {held[number]["body"] for number in range(0, ROWS, 50)} == {
        f"edit 3 of {number}" for number in range(0, ROWS, 50)
    }
    assert [held[100 + number]["lang"] for number in (1, 2, 3)] == ["xx"] * 3
    assert ({2001, 2002, 2003} <= set(held), {1, 2, 3} & set(held)) == (True, set())
    assert (dim_of(address, name), is_right(address, name)) == (32, True)


def test_what_is_written_between_filling_and_exchange_is_there_after(address: str, client: Any, name: str) -> None:
    make(client, name)
    attach_index(job(address, name))
    assert swap(swap_job(address, name), switch=False).is_switched is False
    assert dim_of(address, name) == 64
    write(client, name, row(5, text="changed words"), row(1000, text="late row"), row(1001, text=" "))
    client.delete(name, ids=[6])
    report = swap(swap_job(address, name))
    assert (report.is_switched, report.records, report.followed) == (True, ROWS + 1, 2)
    assert is_right(address, name)


def test_writes_to_either_twin_around_the_exchange_are_kept_when_it_was_broken_off(
    address: str, client: Any, name: str
) -> None:
    make(client, name)
    attach_index(job(address, name))
    swap(swap_job(address, name))
    # As it is until the last writes were brought over: one of them is on its way.
    client.create_alias(f"{name}_qvec", f"{name}_qvec_swap_unsettled")
    write(client, f"{name}_qvec", row(8, text="at the last moment"))
    write(client, name, row(5, text="written since"))
    with pytest.raises(MigrationError, match="swap it again"):
        undo(Attached(url=address, collection=name))
    end_swap(swap_job(address, name))
    held = content(client, name)
    assert (held[5]["body"], held[8]["body"]) == ("written since", "at the last moment")
    assert is_right(address, name)
    assert sorted(each for each in client.list_collections() if each.startswith(name)) == [
        f"{name}_before",
        f"{name}_qvec_swap",
    ]


@pytest.mark.parametrize("switch", [True, False])
def test_undo_while_a_swap_is_open_leaves_the_collection_as_it_was(
    switch: bool, address: str, client: Any, name: str
) -> None:
    make(client, name)
    before, shape = content(client, name), client.describe_collection(name)
    attach_index(job(address, name))
    swap(swap_job(address, name), switch=switch)
    assert plan_undo(Attached(url=address, collection=name))[0].startswith("drop the Milvus collection")
    undo(Attached(url=address, collection=name))
    assert (content(client, name), client.describe_collection(name)["fields"]) == (before, shape["fields"])
    assert [each for each in client.list_collections() if each.startswith(name)] == [name]
    assert [each for each in client.list_aliases()["aliases"] if each.startswith(name)] == []


def test_a_collection_of_others_by_the_second_name_is_left_alone(address: str, client: Any, name: str) -> None:
    make(client, name, rows=5)
    attach_index(job(address, name))
    make(client, f"{name}_qvec_swap", rows=1)
    with pytest.raises(CollectionExistsError, match="which the swap would make"):
        swap(swap_job(address, name))
    assert attach_index(job(address, name)).unchanged == 5
    undo(Attached(url=address, collection=name))
    assert len(content(client, f"{name}_qvec_swap")) == 1


def test_a_low_recall_or_another_model_leaves_the_old_vectors(address: str, client: Any, name: str) -> None:
    make(client, name, rows=50)
    attach_index(job(address, name))
    with pytest.raises(MigrationError, match=r"finds .* of the exact neighbours"):
        swap(swap_job(address, name, least_recall=1.1))
    with pytest.raises(MigrationError, match="another model is open: end it first"):
        swap(swap_job(address, name, dim=16))
    assert (dim_of(address, name), is_right(address, name)) == (64, True)
    end_swap(swap_job(address, name))
    with pytest.raises(MigrationError, match=r"no swap of .* is open"):
        end_swap(swap_job(address, name))
    with pytest.raises(MigrationError, match="vectors of hashing already"):
        swap(swap_job(address, name, dim=64))


def test_a_swap_that_was_broken_off_goes_on_and_a_second_one_meanwhile_is_refused(
    address: str, client: Any, name: str
) -> None:
    make(client, name)
    attach_index(job(address, name))

    def second(_: CopyProgress) -> None:
        for work in (
            lambda: swap(swap_job(address, name)),
            lambda: attach_index(job(address, name)),
            lambda: undo(Attached(url=address, collection=name)),
        ):
            with pytest.raises(MigrationError, match="is at work: wait for it"):
                work()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap(swap_job(address, name), progress=second)
    assert swap(swap_job(address, name)).followed == ROWS - 256
    assert is_right(address, name)


def run_swap(address: str) -> None:
    swap(swap_job(address, NAME))


@pytest.mark.parametrize("count", [FEW, pytest.param(POINTS // 2, marks=pytest.mark.slow)])
def test_a_swap_killed_at_any_point_is_finished_by_the_next(count: int, attached: Path, tmp_path: Path) -> None:
    whole = copied(attached, tmp_path / "whole")
    kill = Kills(lambda: killed_after(200, run_swap, whole), seed=count)
    for number in kill.points(count):
        address = copied(attached, tmp_path / str(number))
        kill(run_swap, address)
        with lite_client(address) as client:
            assert qvec.search(NAME, "article 77 about topic0", k=1, backend=address)[0].id == "77"
            write(client, NAME, row(9, text="written after the kill"))
            assert swap(swap_job(address, NAME)).is_switched
            found = verify(Attached(url=address, collection=NAME))
            assert (found.rows, found.records, found.is_same) == (ROWS, ROWS, True)
            held = content(client, NAME)
            assert (held[5]["body"], held[9]["body"]) == ("written meanwhile", "written after the kill")
            undo(Attached(url=address, collection=NAME))
            assert client.list_collections() == [NAME]
            assert content(client, NAME)[9]["body"] == "written after the kill"


def run_roll_back(address: str) -> None:
    roll_back(swap_job(address, NAME))


def test_a_rollback_killed_at_any_point_is_finished_by_the_next(attached: Path, tmp_path: Path) -> None:
    swapped = copied(attached, tmp_path / "swapped")
    with lite_client(swapped) as client:
        swap(swap_job(swapped, NAME))
        write(client, NAME, row(9, text="written before the kill"))
        client.delete(NAME, ids=[7])
    database = Path(URI.parse(swapped).path)
    whole = copied(database, tmp_path / "whole")
    kill = Kills(lambda: killed_after(200, run_roll_back, whole), seed=FEW)
    for number in kill.points(FEW // 2):
        address = copied(database, tmp_path / str(number))
        kill(run_roll_back, address)
        with lite_client(address) as client:
            client.load_collection(NAME)
            write(client, NAME, row(8, text="written after the kill"))
            assert roll_back(swap_job(address, NAME)).is_switched is False
            held = content(client, NAME)
            assert (held[9]["body"], held[8]["body"]) == ("written before the kill", "written after the kill")
            assert attach_index(job(address, NAME, model=None, dim=None)).failed == 0
            assert (dim_of(address, NAME), is_right(address, NAME), 7 in held) == (64, True, False)


def test_the_command_swaps_rolls_back_and_ends(address: str, client: Any, name: str) -> None:
    make(client, name)
    attach_index(job(address, name))
    command = ["migrate", "swap", address, name, "--dim", "32"]
    shown = CliRunner().invoke(cli, [*command, "--dry-run"])
    assert f"point the alias {name} at {name}_qvec_swap" in shown.stdout
    assert CliRunner().invoke(cli, command).stdout.startswith(f"{name}: {ROWS} records with hashing, 32 dimensions;")
    assert "64 dimensions" in CliRunner().invoke(cli, [*command, "--rollback"]).stdout
    ended = CliRunner().invoke(cli, [*command, "--end"])
    assert (ended.exit_code, ended.stdout) == (0, f"{name}: dropped the other vectors\n")


def test_a_search_finds_its_article_at_every_moment(address: str, client: Any, name: str) -> None:
    make(client, name)
    attach_index(job(address, name))
    assert set(found_throughout(swap_job(address, name))) == {"77"}


def test_a_searcher_whose_collection_was_dropped_takes_the_one_in_its_place(
    address: str, client: Any, name: str
) -> None:
    make(client, name)
    attach_index(job(address, name))
    with qvec.connect(address, layout=layout_of(address, name)) as database:
        query = load_embedder("hashing", dim=32).encode_query(["article 77 about topic0"])
        assert database.adapter.describe_collection(name).dim == 64
        swap(swap_job(address, name))
        end_swap(swap_job(address, name))
        with pytest.raises(InvalidInputError, match="32"):
            database.adapter.search_dense(name, np.zeros((1, 64), np.float32), k=1)
        assert database.adapter.search_dense(name, query, k=1)[0][0].id == "77"
        assert database.collection(name).search("article 77 about topic0", k=1)[0].id == "77"
