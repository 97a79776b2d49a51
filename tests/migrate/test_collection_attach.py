"""A Milvus collection of another program, searched by qvec under its own name, with its own fields."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qvec
from qvec.errors import CollectionNotFoundError, InvalidInputError, UnsupportedError
from qvec.migrate import Attached, IndexJob, MigrationError, attach_index, plan_attach_index, plan_undo, undo, verify
from qvec.registry import embedded_uri, load_embedder
from tests.adapters.milvus_server import milvus_uri
from tests.migrate.collections import ROWS, content, make, row
from tests.migrate.editing import Editing

pytest.importorskip("pymilvus")

SERVER = pytest.param("server", marks=[pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)])
KEYS = ["number", "text"]


@pytest.fixture(params=["lite", SERVER])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return milvus_uri() if request.param == "server" else embedded_uri("milvus", tmp_path / "db").reveal()


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    """The other program's connection."""
    with qvec.connect(address) as database:
        yield database.adapter._connection.client


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    found = f"articles_{uuid.uuid4().hex[:8]}"
    yield found
    for alias in (found, f"{found}_qvec_unsettled", f"{found}_qvec_swap_unsettled"):
        if client.has_collection(alias) and client.describe_collection(alias)["collection_name"] != alias:
            client.drop_alias(alias)
    for each in (found, f"{found}_before", f"{found}_qvec", f"{found}_qvec_swap"):
        if client.has_collection(each):
            client.drop_collection(each)


def job(address: str, name: str, **more: object) -> IndexJob:
    return IndexJob(url=address, index=name, **{"text": "body", "model": "hashing", "dim": 64, **more})


@pytest.mark.parametrize("key", KEYS)
def test_it_is_searched_by_its_own_names_and_filtered_by_its_own_fields(
    key: str, address: str, client: Any, name: str
) -> None:
    make(client, name, key)
    before = content(client, name)
    report = attach_index(job(address, name))
    assert (report.embedded, report.unchanged, report.failed) == (ROWS, 0, 0)
    for mode in ("dense", "lexical", "hybrid"):
        where = "lang = 'en' and tags contains 'a' and about.stars < 200 and free = 'note 77'"
        [hit] = qvec.search(name, "article 77 about topic0", k=5, mode=mode, where=where, backend=address)
        assert (hit.id, hit.text) == ("77" if key == "number" else "k'\"77", "article 77 about topic0")
        assert hit.metadata == {
            "lang": "en", "tags": ["a", "t2"], "about": {"stars": 77, "inner": {"day": "2024-01-01"}}, "free": "note 77"
        }  # fmt: skip
    assert verify(Attached(url=address, collection=name)).is_same
    after = content(client, name)
    kept = set(next(iter(after.values())))
    assert kept >= {"pk", "body", "lang", "tags", "about", "free"}
    assert after == {key: {name: old[name] for name in old if name in kept} for key, old in before.items()}


def test_what_is_written_afterwards_is_embedded_by_another_run(address: str, client: Any, name: str) -> None:
    make(client, name)
    attach_index(job(address, name))
    ours = {field["name"] for field in client.describe_collection(name)["fields"] if "qvec" in field["name"]}
    [vector] = [field for field in ours if field.endswith("vector")]
    kept = {field["name"] for field in client.describe_collection(name)["fields"]} | {"free"}
    for new in (row(5, text="other words"), row(1000, text="a new row"), row(1001, text=" ")):
        # Milvus asks for every vector; the hashes beside it may be left out.
        client.upsert(name, [{key: new[key] for key in new if key in kept} | {vector: [0.0] * 64, **_empty(ours)}])
    client.delete(name, ids=[7])
    found = verify(Attached(url=address, collection=name))
    assert {(item.kind, item.id) for item in found.differences} == {("missing", "5"), ("missing", "1000")}
    report = attach_index(job(address, name))
    assert (report.embedded, report.unchanged, report.failed) == (2, ROWS - 2, 1)
    assert report.errors == [("1001", "its text is empty or white space only")]
    assert verify(Attached(url=address, collection=name)).is_same
    assert qvec.search(name, "a new row", k=1, backend=address)[0].id == "1000"


def _empty(ours: set[str]) -> dict[str, str]:
    """The hashes, which a server before 2.4 wants to have."""
    return {field: "" for field in ours if field.endswith("digest")}


def test_edits_during_the_fill_are_brought_over(address: str, client: Any, name: str) -> None:
    make(client, name)

    def edit(number: int) -> None:
        rows = [row(place, text=f"edit {number} of {place}") for place in range(0, ROWS, 50)]
        late = {**row(100 + number), "lang": "xx"}
        client.upsert(name, [*rows, row(2000 + number), late])
        client.delete(name, ids=[number])

    embedder = Editing(load_embedder("hashing", dim=64), edit)
    attach_index(job(address, name, model=None, dim=None, embedder=embedder))
    held = content(client, name)
    assert {held[number]["body"] for number in range(0, ROWS, 50)} == {
        f"edit 3 of {number}" for number in range(0, ROWS, 50)
    }
    assert [held[100 + number]["lang"] for number in (1, 2, 3)] == ["xx"] * 3
    assert {2001, 2002, 2003} <= set(held)
    assert {1, 2, 3} & set(held) == set()
    assert verify(Attached(url=address, collection=name)).is_same


def test_a_run_that_was_broken_off_goes_on(address: str, client: Any, name: str) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    make(client, name)
    with pytest.raises(KeyboardInterrupt):
        attach_index(job(address, name), progress=stop)
    assert content(client, name)[299]["body"] == "article 299 about topic5"
    report = attach_index(job(address, name))
    assert (report.embedded, report.unchanged) == (ROWS - 256, 256)
    assert verify(Attached(url=address, collection=name)).is_same


def test_a_run_that_was_killed_within_the_exchange_of_names_goes_on(address: str, client: Any, name: str) -> None:
    make(client, name)
    seen: list[object] = []

    def stop(state: object) -> None:
        seen.append(state)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attach_index(job(address, name), progress=stop)
    client.rename_collection(name, f"{name}_before")
    assert attach_index(job(address, name)).embedded == ROWS - 256
    assert qvec.search(name, "article 77 about topic0", k=1, backend=address)[0].id == "77"
    assert not client.has_collection(f"{name}_qvec_unsettled")


def test_what_is_written_after_a_run_was_killed_behind_the_exchange_is_kept_and_embedded(
    address: str, client: Any, name: str
) -> None:
    make(client, name)
    attach_index(job(address, name))
    # As it is until the last writes were brought over: one of them is on its way.
    client.create_alias(f"{name}_before", f"{name}_qvec_unsettled")
    client.upsert(f"{name}_before", [row(8, text="at the last moment")])
    fields = {field["name"] for field in client.describe_collection(name)["fields"]}
    ours = {field: [0.0] * 64 if field.endswith("vector") else "" for field in fields if "qvec" in field}
    new = {key: value for key, value in row(5, text="written since").items() if key in fields | {"free"}}
    client.upsert(name, [{**new, **ours}])
    assert attach_index(job(address, name)).embedded == 2
    held = content(client, name)
    assert (held[5]["body"], held[8]["body"]) == ("written since", "at the last moment")
    assert verify(Attached(url=address, collection=name)).is_same


def test_undo_gives_the_collection_back_with_what_was_written_since(address: str, client: Any, name: str) -> None:
    make(client, name)
    before, shape = content(client, name), client.describe_collection(name)
    shop = Attached(url=address, collection=name)
    attach_index(job(address, name))
    undo(shop)
    assert content(client, name) == before
    assert client.describe_collection(name)["fields"] == shape["fields"]
    assert [each for each in client.list_collections() if each.startswith(name)] == [name]
    with pytest.raises(CollectionNotFoundError, match="not attached"):
        undo(shop)
    attach_index(job(address, name))
    fields = client.describe_collection(name)["fields"]
    ours = {
        field["name"]: [0.0] * 64 if field["name"].endswith("vector") else ""
        for field in fields
        if "qvec" in field["name"]
    }
    kept = {field["name"] for field in fields} | {"free"}
    client.upsert(
        name, [{**{key: value for key, value in row(5, text="written since").items() if key in kept}, **ours}]
    )
    client.delete(name, ids=[6])
    assert "written by the name" in plan_undo(shop)[0]
    undo(shop)
    held = content(client, name)
    assert (held[5]["body"], 6 in held, len(held)) == ("written since", False, ROWS - 1)
    assert {key: held[key] for key in held if key != 5} == {key: before[key] for key in before if key not in (5, 6)}


def test_a_name_that_is_an_alias_already_is_moved_and_moved_back(address: str, client: Any, name: str) -> None:
    make(client, f"{name}_before", rows=20)
    client.create_alias(f"{name}_before", name)
    attach_index(job(address, name))
    assert qvec.search(name, "article 7 about topic0", k=1, backend=address)[0].id == "7"
    undo(Attached(url=address, collection=name))
    assert client.describe_collection(name)["collection_name"] == f"{name}_before"
    assert not client.has_collection(f"{name}_qvec")


def test_what_cannot_be_attached_is_named(address: str, client: Any, name: str) -> None:
    with pytest.raises(CollectionNotFoundError):
        attach_index(job(address, "absent"))
    make(client, name, rows=3)
    assert plan_attach_index(job(address, name))[0].startswith(f"make the Milvus collection {name}_qvec ")
    with pytest.raises(InvalidInputError, match=r"has no text field 'about'; it has body, lang"):
        attach_index(job(address, name, text="about"))
    attach_index(job(address, name))
    with pytest.raises(MigrationError, match="undo that first"):
        attach_index(job(address, name, dim=32))
    qvec.index(f"{name}_before_", ["text"], model="hashing", backend=address)
    with pytest.raises(UnsupportedError, match="of qvec's own"):
        attach_index(job(address, f"{name}_before_"))
    with qvec.connect(address) as database:
        database.drop(f"{name}_before_")
