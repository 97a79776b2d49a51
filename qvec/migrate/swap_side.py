"""What a swap needs of a collection, whatever kind it is of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from qvec.adapter import Adapter
from qvec.embedder import Embedder
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.swap_job import SwapJob
from qvec.registry import load_embedder
from qvec.types import Passport

Told = Callable[[CopyProgress], None] | None


class Side(Protocol):
    """A collection that is being swapped, and its shadow.

    Attributes:
        adapter: holds both.
        collection: the name that is searched.
    """

    adapter: Adapter
    collection: str

    @abstractmethod
    def is_switched(self) -> bool:
        """Tell whether the names were exchanged."""

    @abstractmethod
    def was_switched_back(self) -> bool:
        """Tell whether the last exchange was the one back."""

    @abstractmethod
    def has_shadow(self) -> bool:
        """Tell whether there is a shadow."""

    @abstractmethod
    def prepare(self, progress: Told) -> int:
        """Make the shadow where it is not there; return how many records were brought over."""

    @abstractmethod
    def preparation(self) -> list[str]:
        """Say what `prepare` does."""

    @abstractmethod
    def follow(self, *, into_shadow: bool, progress: Told) -> int:
        """Bring over what has changed, or after an exchange the last of it back; return how many records."""

    @abstractmethod
    def measured(self) -> tuple[Adapter, str]:
        """Say where the shadow is searched, to measure its recall before the exchange."""

    @abstractmethod
    def exchange(self) -> None:
        """Let collection and shadow trade names."""

    @abstractmethod
    def exchange_steps(self) -> list[str]:
        """Write the statements of `exchange`."""

    @abstractmethod
    def dropping(self) -> list[str]:
        """Say what `drop_shadow` does."""

    @abstractmethod
    def drop_shadow(self) -> None:
        """Drop the shadow, and what is known of the swap."""


def asked_embedder(job: SwapJob, passport: Passport | None) -> Embedder:
    """Load the model that a swap is to, which may be the one that the collection has.

    Raises:
        MigrationError: nothing names it.
    """
    if job.embedder is not None:
        return job.embedder
    model = job.model or (passport.model_id if passport else None)
    if model is None:
        raise MigrationError(f"{job.collection!r} does not say whose vectors it holds: name the model")
    return load_embedder(model, dim=job.dim)
