"""An attached Milvus collection gets another model's vectors while it is searched and written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
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
from tests.migrate.collections import ROWS, content, lite_client, make, row
from tests.migrate.editing import Editing
from tests.migrate.test_collection_attach import address, client, job, name
from tests.migrate.test_collection_killed import FEW, NAME, attached, copied, untouched
from tests.migrate.test_killed import POINTS, Kills, killed_after

pytest.importorskip("pymilvus")
__all__ = ["address", "attached", "client", "name", "untouched"]


def swap_job(address: str, name: str, **more: object) -> SwapJob:
    return SwapJob(url=address, collection=name, **{"dim": 32, **more})


def dim_of(address: str, name: str) -> int:
    passport = layout_of(address, name).passport
    assert passport is not None
    return passport.dim


def is_right(address: str, name: str) -> bool:
    return verify(Attached(url=address, collection=name)).is_same


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
