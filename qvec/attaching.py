"""The seam for indexes of other programs that get a vector field of qvec's where they stand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from qvec.layouts import FieldMap
from qvec.types import Passport, Vector, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachForm:
    """What an index was given, as it is noted in the index itself.

    Attributes:
        text: the field that is embedded.
        vector: the field of the vectors.
        digest: the field with the hash of the text that a vector was made from.
        passport: of the vectors.
        id: the field of the ids.
    """

    text: str
    vector: str
    digest: str
    passport: Passport
    id: str = "_id"

    @property
    def layout(self) -> FieldMap:
        """How the index is searched where it stands."""
        return FieldMap(id=self.id, text=self.text, vector=self.vector, hidden=(self.digest,), passport=self.passport)


@dataclass(frozen=True, slots=True)
class AttachRow:
    """A document of the index.

    Attributes:
        id: its id.
        text: of the field that is embedded; empty where it has none.
        digest: of the text that its vector was made from; empty where it has none.
        stamp: what its state is known by; only the adapter reads it.
        vector: its vector, where it was asked for.
    """

    id: str
    text: str
    digest: str
    stamp: tuple[int | str | None, ...]
    vector: Vector | None = None


@runtime_checkable
class SupportsAttach(Protocol):
    """An adapter that can give an index of another program a vector field; inherit from it."""

    @abstractmethod
    def attached_form(self, index: str) -> AttachForm | None:
        """Read what an index was given; None when nothing was.

        Raises:
            CollectionNotFoundError: there is no such index.
        """

    @abstractmethod
    def attach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests that `attach_fields` and one batch of `attach_vectors` would send."""

    @abstractmethod
    def attach_fields(self, index: str, form: AttachForm) -> None:
        """Add the fields and the note.

        Raises:
            InvalidInputError: the index has no such text field.
            UnsupportedError: the index cannot be attached.
        """

    @abstractmethod
    def attach_rows(
        self, index: str, form: AttachForm, *, size: int, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[list[AttachRow]]:
        """Read the documents as they are at the start, or those of `ids` as they are now, in batches of `size`."""

    def attach_count(self, index: str) -> int | None:
        """Count the documents of an index that was given its fields; None where that takes reading them."""
        return None

    @abstractmethod
    def attach_vectors(
        self, index: str, form: AttachForm, rows: Sequence[AttachRow], digests: Sequence[str], vectors: Vectors
    ) -> tuple[list[str], Mapping[str, str]]:
        """Write vectors to documents that are still as `rows` says.

        Returns:
            The ids of those that were written to meanwhile, and are as that left them; and id -> why one was refused.
        """

    def attach_without_vectors(self, index: str, form: AttachForm, rows: Sequence[AttachRow]) -> None:
        """Take note of documents that have no text to embed; this one leaves them as they are."""
        return

    def attach_end(self, index: str, form: AttachForm) -> bool:
        """End a pass over all documents; tell whether `attach_rows` has further ones, which were written meanwhile."""
        return False

    @abstractmethod
    def attach_holder(self, index: str) -> str:
        """Read who is at work on an index that was given its fields, as `hold_attach` noted it; empty: nobody."""

    @abstractmethod
    def hold_attach(self, index: str, holder: str) -> None:
        """Note, in the index, who is at work on it; empty takes the note away."""

    @abstractmethod
    def detach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests that `detach_fields` would send."""

    @abstractmethod
    def detach_fields(self, index: str, form: AttachForm) -> None:
        """Take the values and the note away."""
