"""What a migration reads: a stream of records with places to go on from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeAlias

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

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""


def batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Take records by the batch."""
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch
