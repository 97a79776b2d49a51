"""What a migration reads: a stream of records with places to go on from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Protocol, TypeAlias, runtime_checkable

from qvec.migrate.fields import FieldMap
from qvec.surveying import Bits
from qvec.types import CollectionSpec, Document, Vector

Position: TypeAlias = "int | str | list[int | str] | None"
"""Where a source goes on, as JSON: a row's number or a key; None: it cannot, what was copied is skipped by its id."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row on its way.

    Attributes:
        place: where it stands, for people: ``books.csv:17`` or ``books[42]``.
        position: a later run goes on after it.
        document: None when the row is bad.
        reason: why it is bad.
        vector: its own, where the source has vectors.
    """

    place: str
    position: Position
    document: Document | None
    reason: str = ""
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source tells of itself beside its rows.

    Attributes:
        told: for people: product, key, indexes, permissions ...
        locks: what an attach takes, and who waits for it.
        faults: why an attach would be refused.
        index_bytes: estimates an index of its database, as `SupportsSurvey` has it; None: as pgvector's.
    """

    told: dict[str, object] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    index_bytes: Callable[[int, int, Bits], int | None] | None = None


class Source(Protocol):
    """Rows in a stated order, read lazily.

    Attributes:
        name: for people, without secrets.
        fingerprint: changes when the source is another one, or a file's content is.
        spec: the collection's shape and passport where the source is one of qvec's.
    """

    name: str
    fingerprint: str
    spec: CollectionSpec | None

    @abstractmethod
    def count(self) -> int | None:
        """Count the rows; None where the source cannot tell."""

    @abstractmethod
    def records(self, after: Position = None) -> Iterator[Record]:
        """Read the rows that follow a position, all for None."""

    def facts(self) -> Facts:
        """Say what is known of the source; of a file that is nothing."""
        return Facts()

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class Sampled(Source, Protocol):
    """Rows of a database, which chooses some by chance without reading all of them one after the other."""

    fields: FieldMap

    @abstractmethod
    def sample(self, size: int, chance: Random) -> Sequence[Mapping[str, object]]:
        """Read rows chosen at random."""


def batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Take records by the batch."""
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch
