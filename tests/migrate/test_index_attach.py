"""An Elasticsearch index made searchable where it stands, while others write to it."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
from qvec.errors import CollectionNotFoundError, InvalidInputError, PassportMismatchError, UnsupportedError
from qvec.migrate import (
    Attached,
    IndexJob,
    MigrationError,
    attach_index,
    layout_of,
    plan_attach_index,
    plan_undo,
    undo,
    verify,
)
from qvec.registry import load_embedder
from tests.adapters.elasticsearch_node import elasticsearch_uri
from tests.migrate.editing import Editing
from tests.migrate.test_killed import POINTS, Kills, killed_after
from tests.migrate.test_signals import STOPPED, start, stopped_at

elasticsearch = pytest.importorskip("elasticsearch")

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

ROWS = 700


@pytest.fixture(scope="module")
def url() -> str:
    return elasticsearch_uri()


@pytest.fixture
def client(url: str) -> Iterator[elasticsearch.Elasticsearch]:
    parts = urlsplit(url)
    with elasticsearch.Elasticsearch(f"http://{parts.hostname}:{parts.port}") as found:
        yield found


@pytest.fixture
def index(client: elasticsearch.Elasticsearch) -> Iterator[str]:
    name = f"articles-{uuid.uuid4().hex[:8]}"
    properties = {"body": {"properties": {"en": {"type": "text"}}}, "lang": {"type": "keyword"}}
    mappings = {"dynamic": "strict", "_meta": {"owner": "us"}, "properties": properties}
    client.indices.create(index=name, mappings=mappings)
    operations: list[dict[str, object]] = []
    for number in range(ROWS):
        operations.append({"index": {"_index": name, "_id": str(number)}})
        text = f"article {number} about topic{number % 7}"
        operations.append({"body": {"en": text}, "lang": "en" if number % 2 else "zh"})
    client.bulk(operations=operations, refresh=True)
    yield name
    client.indices.delete(index=name)


def job(url: str, index: str, **more: object) -> IndexJob:
    return IndexJob(url=url, index=index, **{"text": "body.en", "model": "hashing", **more})


def sources(client: elasticsearch.Elasticsearch, index: str) -> dict[str, dict[str, object]]:
    client.indices.refresh(index=index)
    shown = {"source_exclude_vectors": False} if elasticsearch.__version__ >= (9, 2) else {}
    found = client.search(index=index, size=1000, **shown)
    return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}


def test_every_document_gets_the_vector_of_its_text(url: str, client: elasticsearch.Elasticsearch, index: str) -> None:
    report = attach_index(job(url, index))
    assert (report.embedded, report.unchanged, report.failed) == (ROWS, 0, 0)
    layout = layout_of(url, index)
    assert (layout.id, layout.text) == ("_id", "body.en")
    client.indices.refresh(index=index)
    query = load_embedder("hashing").encode_query(["article 77 about topic0"])[0].tolist()
    wanted = {"field": layout.vector, "query_vector": query, "k": 1, "num_candidates": 100}
    found = client.search(index=index, knn={**wanted, "filter": {"term": {"lang": "en"}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["77"]
    report = verify(Attached(url=url, collection=index))
    assert (report.rows, report.records, report.sampled, report.is_same) == (ROWS, ROWS, 256, True)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_it_is_searched_by_its_own_names_and_filtered_by_its_own_fields(mode: str, url: str, index: str) -> None:
    attach_index(job(url, index, dim=64))
    hits = qvec.search(index, "article 77 about topic0", k=5, mode=mode, where="lang = 'en'", backend=url)
    assert (hits[0].id, hits[0].text) == ("77", "article 77 about topic0")
    assert [hit.metadata["lang"] for hit in hits] == ["en"] * 5
    assert all("qvec" not in str(hit.metadata) for hit in hits)
    with qvec.connect(url, layout=layout_of(url, index)) as database:
        found = database.collection(index).search("article 77 about topic0", k=5, mode=mode, where="lang = 'en'")
        assert found[0].id == "77"
        assert database.collection(index).count("lang = 'zh'") == ROWS // 2
    with pytest.raises(PassportMismatchError, match="dim 64"):
        qvec.search(index, "article 77", backend=url, model="hashing", dim=32)
    with pytest.raises(UnsupportedError, match="read-only"):
        qvec.index(index, ["a text"], backend=url)


def test_a_second_run_embeds_what_changed(url: str, client: elasticsearch.Elasticsearch, index: str) -> None:
    attach_index(job(url, index))
    client.update(index=index, id="5", doc={"body": {"en": "other words"}})
    client.index(index=index, id="6", document={"body": {"en": "written anew"}, "lang": "en"})
    client.index(index=index, id="empty", document={"lang": "en"})
    client.delete(index=index, id="7", refresh=True)
    found = verify(Attached(url=url, collection=index))
    assert {(item.kind, item.id) for item in found.differences} == {("changed", "5"), ("missing", "6")}
    report = attach_index(job(url, index, model=None))
    assert (report.embedded, report.unchanged, report.failed) == (2, ROWS - 3, 1)
    assert report.errors == [("empty", "its text is empty or white space only")]
    assert verify(Attached(url=url, collection=index)).is_same


def test_an_edit_during_the_fill_wins_and_is_embedded(
    url: str, client: elasticsearch.Elasticsearch, index: str
) -> None:
    def edit(number: int) -> None:
        for place in range(0, ROWS, 50):
            client.update(index=index, id=str(place), doc={"body": {"en": f"edit {number} of {place}"}})
        client.options(ignore_status=404).delete(index=index, id=str(number))

    attach_index(job(url, index, model=None, embedder=Editing(load_embedder("hashing"), edit)))
    held = sources(client, index)
    assert {str(held[str(number)]["body"]) for number in range(0, ROWS, 50)} == {
        str({"en": f"edit 3 of {number}"}) for number in range(0, ROWS, 50)
    }
    assert {"1", "2", "3"} & set(held) == set()
    assert verify(Attached(url=url, collection=index)).is_same


def test_a_run_that_was_broken_off_goes_on(url: str, index: str) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attach_index(job(url, index), progress=stop)
    report = attach_index(job(url, index))
    assert (report.embedded, report.unchanged) == (ROWS - 256, 256)


def test_a_signal_ends_it_after_the_batch(url: str, index: str, tmp_path: Path) -> None:
    child = start("attach-index", url, index, "--text", "body.en", folder=tmp_path)
    assert stopped_at(child, 2, signal.SIGINT) == (130, STOPPED)
    report = attach_index(job(url, index))
    assert (report.embedded, report.unchanged) == (ROWS - 2 * 256, 2 * 256)


def run_attach(url: str, index: str) -> None:
    attach_index(job(url, index))


@pytest.mark.parametrize("count", [3, POINTS])
def test_an_attach_killed_at_any_point_is_finished_by_the_next(count: int, url: str, index: str) -> None:
    shop = Attached(url=url, collection=index)

    def unbroken() -> bool:
        return killed_after(120, run_attach, url, index)

    kill = Kills(unbroken, seed=count)
    undo(shop)
    for _ in range(count):
        kill(run_attach, url, index)
        run_attach(url, index)
        found = verify(shop)
        assert (found.rows, found.records, found.is_same) == (ROWS, ROWS, True)
        undo(shop)
    assert kill.hits >= count // 4


def test_undo_leaves_documents_and_notes_as_they_were(
    url: str, client: elasticsearch.Elasticsearch, index: str
) -> None:
    before = sources(client, index)
    attach_index(job(url, index))
    shop = Attached(url=url, collection=index)
    assert "_update_by_query" in plan_undo(shop)[1]
    undo(shop)
    assert sources(client, index) == before
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    assert mapping["_meta"] == {"owner": "us"}
    assert len(mapping["properties"]) == 4  # no server removes a field
    with pytest.raises(CollectionNotFoundError, match="not attached"):
        layout_of(url, index)
    assert attach_index(job(url, index, dim=32)).embedded == ROWS


def test_what_cannot_be_attached_is_named(url: str, index: str) -> None:
    assert plan_attach_index(job(url, index))[0].startswith(f"PUT /{index}/_mapping ")
    with pytest.raises(InvalidInputError, match=r"has no field 'nothing'; it has body, lang"):
        attach_index(job(url, index, text="nothing"))
    with pytest.raises(CollectionNotFoundError):
        attach_index(job(url, "absent"))
    attach_index(job(url, index))
    with pytest.raises(MigrationError, match="undo that first"):
        attach_index(job(url, index, dim=64))
    with pytest.raises(UnsupportedError, match="copy from it instead"):
        attach_index(job("memory:", index))


def test_the_command_attaches_and_says_where_the_vectors_are(url: str, index: str) -> None:
    command = ["migrate", "attach-index", url, index, "--text", "body.en", "--model", "hashing"]
    assert CliRunner().invoke(cli, [*command, "--dry-run"]).stdout.startswith(f"PUT /{index}/_mapping ")
    assert CliRunner().invoke(cli, command).stdout.startswith(f"{index}: 700 documents embedded, 0 unchanged, 0 failed")
    verified = CliRunner().invoke(cli, ["migrate", "verify", url, "--collection", index])
    assert (verified.exit_code, verified.stdout[-14:]) == (0, " all the same\n")
    search = ["search", "article 77 about topic0", "--backend", url, "--collection", index, "--where", "lang = 'en'"]
    found = CliRunner().invoke(cli, [*search, "--mode", "hybrid", "--json"])
    assert json.loads(found.stdout)["hits"][0]["id"] == "77"
