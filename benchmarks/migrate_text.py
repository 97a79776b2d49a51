"""Real text for a table: the running Python's library, six lines a row, and the corpora of the retrieval sets."""

from __future__ import annotations

import gzip
import json
import os
import sysconfig
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

_LINES = 6
_CORPORA = ("scifact", "cosqa", "lancet_go", "drcd", "cmrc2018")


def pieces(most: int, *, only_library: bool = False) -> Iterator[tuple[str, str]]:
    """Yield path and text; the corpora first, where QVEC_SHARED_DATA or ../shared/data has them."""
    return islice(_library() if only_library else chain(_corpora(), _library()), most)


def _corpora() -> Iterator[tuple[str, str]]:
    data = Path(os.environ.get("QVEC_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    for name in _CORPORA:
        path = data / name / "corpus.jsonl.gz"
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    text = str(json.loads(line).get("text") or "").replace("\0", "")
                    if text.strip():
                        yield name, text[:2000]


def _library() -> Iterator[tuple[str, str]]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").replace("\0", "").splitlines()
        for first in range(0, len(lines), _LINES):
            text = "\n".join(lines[first : first + _LINES])
            if text.strip():
                yield str(path), text
