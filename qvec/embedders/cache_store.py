"""What a cache of vectors has to do; it may forget, and it never fails a caller."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol


class VectorCache(Protocol):
    """Keeps bytes under keys; what goes wrong with it is a warning in the log and a miss."""

    @abstractmethod
    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is held of these keys."""

    @abstractmethod
    def write(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries; one that is there is replaced."""

    @abstractmethod
    def close(self) -> None:
        """Let go of file or connection; a second call does nothing."""
