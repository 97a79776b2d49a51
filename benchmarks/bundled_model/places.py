"""Where the training data, the caches and the finished model lie."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOM = Path(__file__).resolve().parent
REPO = ROOM.parents[1]
MODEL = REPO / "qvec" / "embedders" / "bundled_model"
RESULTS = REPO / "benchmarks" / "results"

Row = dict[str, Any]


def shared_data() -> Path:
    """Name the folder of the evaluation sets and aligned pairs (``QVEC_SHARED_DATA``)."""
    return Path(os.environ.get("QVEC_SHARED_DATA", REPO.parent / "shared" / "data"))


def cache() -> Path:
    """Name the folder that holds downloads and half-done work (``QVEC_BUNDLED_CACHE``), making it."""
    folder = Path(os.environ.get("QVEC_BUNDLED_CACHE", Path.home() / ".cache" / "qvec-bundled"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def teacher_file(relative: str) -> Path:
    """Find a file of a teacher's package in the cache.

    Raises:
        FileNotFoundError: the step ``fetch`` has not brought it.
    """
    found = sorted((cache() / "teachers").glob(f"*/{relative}"))
    if not found:
        raise FileNotFoundError(f"{relative}: run python -m benchmarks.bundled_model fetch")
    return found[0]


def read_rows(path: Path) -> Iterator[Row]:
    """Read JSON lines, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write gzipped JSON lines, whole or not at all.

    Returns:
        How many rows were written.
    """
    partial = path.with_suffix(".partial")
    written = 0
    with gzip.open(partial, "wt", encoding="utf-8", compresslevel=3) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    partial.rename(path)
    return written


def share(name: str, parts: int) -> int:
    """Put a name into one of `parts` equal shares, the same one on every machine."""
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % parts
