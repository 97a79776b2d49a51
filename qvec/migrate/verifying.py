"""What a comparison of source and target found: each difference, told as it is met."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Generic, Literal, Self, TypeAlias, TypeVar

import numpy as np

from qvec.migrate.journal import SAMPLE, sample_hash
from qvec.types import Metric, Vector

Kind: TypeAlias = Literal["missing", "extra", "changed", "vector", "count"]
Item = TypeVar("Item")

LEAST_COSINE = 0.999
"""Between a vector and the same text's embedded again: bfloat16 in another batch costs about 1e-4, halfvec 1e-6."""

_LEAST_LENGTH = 0.01
_FIRST = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the source has it.

    Attributes:
        kind: ``"missing"`` from the target, ``"extra"`` in it, ``"changed"`` text or metadata, a wrong ``"vector"``, or
            a wrong ``"count"`` in the catalogue.
        id: of the record, or of the row where it has none.
        what: in words.
    """

    kind: Kind
    id: str
    what: str


@dataclass(slots=True)
class VerifyReport:
    """What was compared, and what differs.

    Attributes:
        rows: of the source.
        failed: rows that cannot be in the target, or could not when they were to be written: the migration lists them.
        records: that the rows should be, and were compared.
        sampled: records whose vectors were compared with new ones.
        counts: kind of difference -> how many there are.
        differences: the first 1,000.
    """

    rows: int = 0
    failed: int = 0
    records: int = 0
    sampled: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not self.counts


class Findings:
    """Gathers differences in constant memory.

    Args:
        told: called with each difference as it is met.
    """

    def __init__(self, told: Callable[[Difference], None] | None) -> None:
        self.report = VerifyReport()
        self._told = told

    def add(self, kind: Kind, identity: str, what: str) -> None:
        """Take a difference."""
        difference = Difference(kind, identity, what)
        self.report.counts[kind] = self.report.counts.get(kind, 0) + 1
        if len(self.report.differences) < _FIRST:
            self.report.differences.append(difference)
        if self._told:
            self._told(difference)

    def compare_vectors(self, held: Mapping[str, Vector], expected: Mapping[str, Vector], metric: Metric) -> None:
        """Compare sampled vectors with those that they should be; a record that is not held was told of before."""
        for identity, vector in expected.items():
            if identity in held:
                self.report.sampled += 1
                fault = vector_fault(held[identity], vector, metric)
                if fault:
                    self.add("vector", identity, fault)


def vector_fault(held: Vector, expected: Vector, metric: Metric) -> str:
    """Say how a vector differs from the one expected; empty when it does not."""
    lengths = float(np.linalg.norm(held)), float(np.linalg.norm(expected))
    if held.shape != expected.shape:
        return f"{held.size} dimensions, not {expected.size}"
    if not all(lengths):
        return "" if not any(lengths) else "one of the two vectors is zero"
    cosine = float(held @ expected) / (lengths[0] * lengths[1])
    if cosine < LEAST_COSINE:
        return f"cosine {cosine:.4f} with its text's"
    if metric is not Metric.COSINE and abs(lengths[0] / lengths[1] - 1) > _LEAST_LENGTH:
        return f"length {lengths[0]:.4f}, not {lengths[1]:.4f}"
    return ""


class Sample(Generic[Item]):
    """Keeps the items whose ids have the smallest hashes: the same ones in every run, whatever the order."""

    def __init__(self, size: int = SAMPLE) -> None:
        self._size = size
        self._heap: list[tuple[int, str, Item]] = []

    def offer(self, identity: str, item: Item) -> None:
        """Keep an item, or not."""
        entry = (-sample_hash(identity), identity, item)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry[0] > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    @property
    def items(self) -> list[Item]:
        """What was kept, in order of id."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[1])]


class Seen:
    """Ids on disk, so that any number of them takes no memory; closed by ``with``."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="qvec-verify-")
        self._db = sqlite3.connect(Path(self._folder.name) / "ids.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._db.close()
        self._folder.cleanup()

    def add(self, ids: Sequence[str]) -> None:
        """Remember these."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR IGNORE INTO ids VALUES (?)", ((identity,) for identity in ids))
        self._db.execute("COMMIT")

    def among(self, ids: Sequence[str]) -> set[str]:
        """Which of these are remembered."""
        wanted = json.dumps(list(ids), ensure_ascii=False)
        found = self._db.execute("SELECT id FROM ids WHERE id IN (SELECT value FROM json_each(?))", (wanted,))
        return {str(row[0]) for row in found}
