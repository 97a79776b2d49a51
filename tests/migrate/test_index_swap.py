"""An attached Elasticsearch index gets another model's vectors while it is searched and written to."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
from qvec.migrate import (
    Attached,
    IndexJob,
    MigrationError,
    SwapJob,
    attach_index,
    end_swap,
    layout_of,
    plan_swap,
    roll_back,
    swap,
    undo,
    verify,
)
from qvec.registry import load_embedder
from tests.migrate.editing import Editing
from tests.migrate.searching import dim_of, found_throughout, is_right
from tests.migrate.test_index_attach import ROWS, client, elasticsearch, index, job, sources, url
from tests.migrate.test_killed import POINTS, Kills, killed_after
from tests.migrate.test_signals import STOPPED, start, stopped_at

__all__ = ["client", "index", "url"]
pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""


@pytest.fixture
def attached(url: str, index: str) -> str:
    attach_index(job(url, index))
    return index


def swap_job(url: str, index: str, **more: object) -> SwapJob:
    return SwapJob(url=url, collection=index, **{"dim": 64, **more})


def test_a_swap_changes_model_and_dim_and_can_be_rolled_back(
    url: str, client: elasticsearch.Elasticsearch, attached: str
) -> None:
    before = sources(client, attached)
    assert [step.split(" ")[0] for step in plan_swap(swap_job(url, attached))][:3] == ["PUT", "POST", "embed"]
    assert sources(client, attached) == before
    report = swap(swap_job(url, attached))
    assert (report.is_switched, report.records, report.followed, report.dim) == (True, ROWS, ROWS, 64)
    assert report.recall == pytest.approx(1, abs=0.1)
    assert dim_of(url, attached) == 64
    assert is_right(url, attached)
    client.update(index=attached, id="5", doc={"body": {"en": "written since"}}, refresh=True)
    assert swap(swap_job(url, attached)).followed == 1
    report = roll_back(swap_job(url, attached))
    assert (report.is_switched, report.followed, report.dim) == (False, 1, 256)
    assert is_right(url, attached)
    assert qvec.search(attached, "written since", backend=url)[0].id == "5"
    assert roll_back(swap_job(url, attached)).followed == 0
    assert swap(swap_job(url, attached)).followed == 0
    end_swap(swap_job(url, attached))
    assert is_right(url, attached)
    assert {field for source in sources(client, attached).values() for field in source if "vector" in field} == {
        layout_of(url, attached).vector
    }
    with pytest.raises(MigrationError, match="was not swapped"):
        roll_back(swap_job(url, attached))
    with pytest.raises(MigrationError, match="vectors of hashing already"):
        swap(swap_job(url, attached))


def test_what_is_edited_and_deleted_meanwhile_is_right_and_the_index_is_searched_throughout(
    url: str, client: elasticsearch.Elasticsearch, attached: str
) -> None:
    with qvec.connect(url) as database:
        articles = database.collection(attached)

        def look() -> None:
            for mode in ("dense", "hybrid", "lexical"):
                hits = articles.search("article 77 about topic0", k=3, mode=mode, where="lang = 'en'")
                assert (hits[0].id, set(hits[0].metadata)) == ("77", {"body", "lang"})

        def edit(number: int) -> None:
            for place in range(0, ROWS, 50):
                client.update(index=attached, id=str(place), doc={"body": {"en": f"edit {number} of {place}"}})
            client.delete(index=attached, id=str(number))
            client.index(index=attached, id=f"new{number}", document={"body": {"en": f"new {number}"}, "lang": "zh"})
            look()

        look()
        model = load_embedder("hashing", dim=64)
        report = swap(swap_job(url, attached, embedder=Editing(model, edit)))
        assert (report.is_switched, report.records) == (True, ROWS)
        look()
        assert articles.search("edit 3 of 50", k=1)[0].id == "50"
        end_swap(swap_job(url, attached))
        look()
    held = sources(client, attached)
    assert {str(held[str(number)]["body"]) for number in range(0, ROWS, 50)} == {
        str({"en": f"edit 3 of {number}"}) for number in range(0, ROWS, 50)
    }
    assert ({"1", "2", "3"} & set(held), {"new1", "new2", "new3"} <= set(held)) == (set(), True)
    assert is_right(url, attached)


def test_what_is_written_between_filling_and_exchange_is_there_after(
    url: str, client: elasticsearch.Elasticsearch, attached: str
) -> None:
    assert swap(swap_job(url, attached), switch=False).is_switched is False
    assert dim_of(url, attached) == 256
    client.update(index=attached, id="1", doc={"body": {"en": "changed words"}})
    client.index(index=attached, id="late", document={"body": {"en": "late row"}, "lang": "en"})
    client.delete(index=attached, id="2", refresh=True)
    report = swap(swap_job(url, attached))
    assert (report.is_switched, report.followed) == (True, 2)
    assert is_right(url, attached)


@pytest.mark.parametrize("switch", [True, False])
def test_undo_while_a_swap_is_open_leaves_documents_and_notes_as_they_were(
    switch: bool, url: str, client: elasticsearch.Elasticsearch, index: str
) -> None:
    before = sources(client, index)
    attach_index(job(url, index))
    swap(swap_job(url, index), switch=switch)
    undo(Attached(url=url, collection=index))
    assert sources(client, index) == before
    assert client.indices.get_mapping(index=index)[index]["mappings"]["_meta"] == {"owner": "us"}


def test_a_low_recall_another_model_or_a_lost_document_leaves_the_old_vectors(url: str, attached: str) -> None:
    with pytest.raises(MigrationError, match=r"finds .* of the exact neighbours"):
        swap(swap_job(url, attached, least_recall=1.1))
    with pytest.raises(MigrationError, match="another model is open: end it first"):
        swap(swap_job(url, attached, dim=32))
    assert dim_of(url, attached) == 256
    assert is_right(url, attached)
    end_swap(swap_job(url, attached))
    with pytest.raises(MigrationError, match=r"no swap of .* is open"):
        end_swap(swap_job(url, attached))


def test_a_second_swap_attach_or_undo_meanwhile_is_refused(url: str, attached: str) -> None:
    refused: list[str] = []

    def others(_: object) -> None:
        if refused:
            return
        for work in (
            lambda: swap(swap_job(url, attached)),
            lambda: attach_index(job(url, attached)),
            lambda: undo(Attached(url=url, collection=attached)),
        ):
            with pytest.raises(MigrationError, match="is at work: wait for it") as said:
                work()
            refused.append(str(said.value))

    assert swap(swap_job(url, attached), progress=others).is_switched
    assert len(refused) == 3


def test_a_signal_ends_a_swap_after_the_batch_and_the_next_goes_on(url: str, attached: str, tmp_path: Path) -> None:
    child = start("swap", url, attached, "--dim", "64", folder=tmp_path)
    assert stopped_at(child, 2, signal.SIGINT) == (130, STOPPED)
    assert swap(swap_job(url, attached)).followed == ROWS - 2 * 256


def run_swap(url: str, index: str) -> None:
    swap(swap_job(url, index))


def test_a_swap_killed_at_any_point_is_finished_by_the_next(url: str, attached: str) -> None:
    def unbroken() -> bool:
        return killed_after(120, run_swap, url, attached)

    def undone() -> None:
        undo(Attached(url=url, collection=attached))
        attach_index(IndexJob(url=url, index=attached, text="body.en", model="hashing"))

    kill = Kills(unbroken, seed=POINTS // 2)
    for number in kill.points(POINTS // 2):
        undone()
        kill(run_swap, url, attached)
        assert qvec.search(attached, "article 77 about topic0", k=1, backend=url)[0].id == "77"
        assert swap(swap_job(url, attached)).is_switched
        found = verify(Attached(url=url, collection=attached))
        assert (number, found.records, found.is_same) == (number, ROWS, True)


def test_the_command_swaps_rolls_back_and_ends(url: str, attached: str) -> None:
    command = ["migrate", "swap", url, attached, "--dim", "64"]
    shown = CliRunner().invoke(cli, [*command, "--dry-run"])
    assert "qvec_swapping" in shown.stdout
    assert CliRunner().invoke(cli, command).stdout.startswith(f"{attached}: 700 records with hashing, 64 dimensions;")
    shown = CliRunner().invoke(cli, [*command, "--rollback"])
    assert "256 dimensions" in shown.stdout
    ended = CliRunner().invoke(cli, [*command, "--end"])
    assert (ended.exit_code, ended.stdout) == (0, f"{attached}: dropped the other vectors\n")


def test_a_search_finds_its_article_at_every_moment(url: str, attached: str) -> None:
    assert set(found_throughout(swap_job(url, attached))) == {"77"}
