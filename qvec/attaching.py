"""The seam for indexes of other programs that get a vector field of qvec's where they stand."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from qvec.layouts import FieldMap
from qvec.types import Passport, Vector, Vectors

State: TypeAlias = Literal["filling", "switched", "back"]
_OWN = re.compile(r"qvec_[0-9a-f]{8}_(vector|digest)")


def own_names(mark: str) -> tuple[str, str]:
    """Name the fields of vectors and digests of a model that eight hexadecimal digits stand for."""
    return f"qvec_{mark}_vector", f"qvec_{mark}_digest"


def is_own_name(field: str) -> bool:
    """Tell that a field was added by an attach or a swap."""
    return _OWN.fullmatch(field) is not None


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


@dataclass(frozen=True, slots=True)
class AttachSwap:
    """A swap of an attached index that was begun and not ended.

    Attributes:
        form: of the vectors that are not searched: the new ones, or after the exchange the old.
        state: ``"filling"`` before the exchange, ``"switched"`` after it, ``"back"`` after the one back.
        table: where they are, as in `qvec.layouts.FieldMap`.
        is_settled: whether all that was written until the last exchange was brought over.
    """

    form: AttachForm
    state: State
    table: str = "{name}"
    is_settled: bool = True


@runtime_checkable
class SupportsAttachSwap(SupportsAttach, Protocol):
    """An adapter that keeps a second form beside that of an attached index; inherit from it.

    What reads and writes rows takes either form.
    """

    @abstractmethod
    def attach_swap(self, index: str) -> AttachSwap | None:
        """Read what is beside the form that is searched; None when nothing is."""

    @abstractmethod
    def begin_swap_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests that `begin_swap` and one batch of `attach_vectors` would send."""

    @abstractmethod
    def begin_swap(self, index: str, form: AttachForm) -> None:
        """Make room for the vectors of a second form, and note it, maybe by other names; a second call goes on.

        Raises:
            UnsupportedError: the index has no room for such vectors.
        """

    @abstractmethod
    def exchange_forms_steps(self, index: str) -> list[str]:
        """Write the requests that `exchange_forms` would send."""

    @abstractmethod
    def exchange_forms(self, index: str) -> None:
        """Let the form beside be the one that is searched, in one request, and keep the other beside it."""

    @abstractmethod
    def end_swap_steps(self, index: str) -> list[str]:
        """Write the requests that `end_swap` would send."""

    @abstractmethod
    def end_swap(self, index: str) -> None:
        """Take the vectors of the form beside away, and then its note."""
