"""What a run of indexing remembers of the documents that it saw."""

from __future__ import annotations

from contextlib import closing

from qvec.seen import Seen


def test_an_id_keeps_the_digest_that_it_came_with_first_across_statements_and_calls():
    with closing(Seen()) as seen:
        new = [(f"d{number}", f"v{number}") for number in range(1000)]
        assert seen.first_digests([*new, ("d7", "other"), ("d999", "v999")]) == [None] * 1000 + ["v7", "v999"]
        assert seen.first_digests([("d0", "other"), ("more", "v"), ("d500", "v500")]) == ["v0", None, "v500"]


def test_what_may_be_stale_and_is_not_kept_comes_back_in_runs():
    with closing(Seen()) as seen:
        seen.note("stale", (f"r{number:04}" for number in range(1500)))
        seen.note("stale", ["r0000", "s1"])
        seen.note("kept", [f"r{number:04}" for number in range(900)])
        runs = list(seen.stale(250))
        assert sorted(record for run in runs for record in run) == [*(f"r{n:04}" for n in range(900, 1500)), "s1"]
        assert max(map(len, runs)) == 250


def test_sources_are_known_that_were_noted():
    with closing(Seen()) as seen:
        seen.note("sources", ["a", "b'\"", "a"])
        assert [seen.has_source(name) for name in ("a", "b'\"", "c")] == [True, True, False]
