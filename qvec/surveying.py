"""The seam for reading an index of another program as it is: what a plan tells of it, and its documents by field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import Literal, Protocol, runtime_checkable

from qvec.sampling import reservoir

Row = dict[str, object]
Bits = Literal[32, 16, 8, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of an index before anything is done to it.

    Attributes:
        rows: how many documents it has.
        key: the field of the ids.
        fields: that its documents have, those within objects with dots.
        facts: for people: product and version, key, indexes, permissions.
        locks: what an attach keeps others from, and how long.
        faults: why it cannot be attached where it stands.
        is_open: documents may have fields that are not among `fields`.
    """

    rows: int
    key: str
    fields: tuple[str, ...]
    facts: Mapping[str, object]
    locks: tuple[str, ...]
    faults: tuple[str, ...] = ()
    is_open: bool = False


@runtime_checkable
class SupportsSurvey(Protocol):
    """An adapter that reads indexes of other programs, whatever fields they have; inherit from it."""

    @abstractmethod
    def survey(self, index: str) -> Survey:
        """Read what there is to know; nothing is written.

        Raises:
            CollectionNotFoundError: there is no such index.
            UnsupportedError: it cannot be read.
        """

    @abstractmethod
    def read_index(self, index: str, *, size: int, vector: str = "") -> Iterator[list[Row]]:
        """Walk all documents in batches of `size`: their key and fields, and of the vectors the one that is named."""

    def sample_index(self, index: str, *, size: int, chance: Random) -> list[Row]:
        """Choose documents by chance; this one walks all of them."""
        return reservoir(chain.from_iterable(self.read_index(index, size=1000)), size, chance)

    @abstractmethod
    def index_bytes(self, rows: int, dim: int, bits: Bits) -> int | None:
        """Estimate the index over so many vectors of numbers of so many bits; None where there is no such index."""
