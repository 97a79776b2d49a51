"""kill -9 in the middle of indexing: a second run finishes the rest, without duplicates and without loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qvec.errors import MissingDriverError
from qvec.registry import adapter_class, embedded_uri
from tests.conftest import required

DOCUMENTS = 3000
CHILD = """
import sys
from qvec.api import index

def docs():
    for number in range({documents}):
        text = f"document number {{number}} speaks of topic {{number % 7}}"
        yield {{"id": f"d{{number}}", "text": text, "n": number}}

def progress(state):
    print(state.written, flush=True)

report = index("crash", docs(), backend=sys.argv[1], model="hashing", progress=progress)
print("report", report.added, report.updated, report.unchanged, len(report.failed), flush=True)
"""


def start(uri: str) -> subprocess.Popen[str]:
    code = CHILD.format(documents=DOCUMENTS)
    return subprocess.Popen([sys.executable, "-c", code, uri], stdout=subprocess.PIPE, text=True)


def kill_after(uri: str, written: int) -> int:
    """Kill the child with signal 9 once it has reported so many records; returns the last number it told."""
    child = start(uri)
    assert child.stdout is not None
    last = 0
    with child:
        for line in child.stdout:
            if line.startswith("report"):
                break
            last = int(line)
            if last >= written:
                time.sleep(0.01)
                os.kill(child.pid, signal.SIGKILL)
                break
    return last


def finish(uri: str) -> tuple[int, int, int, int]:
    with start(uri) as child:
        assert child.stdout is not None
        lines = child.stdout.read().splitlines()
    assert child.returncode == 0, lines
    added, updated, unchanged, failed = map(int, lines[-1].split()[1:])
    return added, updated, unchanged, failed


@pytest.mark.usefixtures("servers_end")
@pytest.mark.parametrize("backend", ["faiss", "pgvector", "milvus"])
def test_a_run_killed_twice_is_finished_by_the_third(backend: str, tmp_path: Path) -> None:
    try:
        adapter_class(backend)
        uri = embedded_uri(backend, tmp_path).reveal()
    except MissingDriverError:
        if required(backend):
            raise
        pytest.skip(f"{backend} has no driver here")
    first = kill_after(uri, 500)
    second = kill_after(uri, 1000)
    added, updated, unchanged, failed = finish(uri)
    assert (updated, failed) == (0, 0)
    assert added + unchanged == DOCUMENTS
    assert unchanged >= max(first, second)
    assert finish(uri) == (0, 0, DOCUMENTS, 0)
    check(uri)


def check(uri: str) -> None:
    code = (
        "import sys, qvec\n"
        "with qvec.connect(sys.argv[1]) as database:\n"
        "    crash = database.collection('crash')\n"
        "    seen = [d.id for batch in database.adapter.scan('crash') for d in batch.documents]\n"
        "    print(crash.count(), len(seen), len(set(seen)))\n"
        "    print([hit.id for hit in crash.search('document number 2999', k=1, mode='lexical')])\n"
        "    print(crash.count('n < 100'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == [f"{DOCUMENTS} {DOCUMENTS} {DOCUMENTS}", "['d2999']", "100"]
