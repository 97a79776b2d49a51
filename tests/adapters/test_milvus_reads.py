"""Which reads of a Milvus server wait for its next tick."""

from __future__ import annotations

import pytest
from qvec_milvus.connection import Connection


@pytest.fixture
def connection() -> Connection:
    return Connection(client=None, driver=None, place="nowhere", is_lite=False, version="2.3.5")


def test_nothing_written_lets_no_read_wait(connection: Connection) -> None:
    assert connection.level("docs") == connection.level("docs", ["a"]) == "Bounded"


def test_a_read_of_what_was_written_waits_and_one_of_other_sources_does_not(connection: Connection) -> None:
    connection.wrote("docs", ["a", "b"])
    assert connection.level("docs") == connection.level("docs", ["c", "b"]) == "Strong"
    assert connection.level("docs", ["c"]) == connection.level("other") == "Bounded"


def test_a_write_of_unknown_sources_lets_every_read_wait(connection: Connection) -> None:
    connection.wrote("docs", ["a"])
    connection.wrote("docs")
    connection.wrote("docs", ["b"])
    assert connection.level("docs", ["c"]) == "Strong"
