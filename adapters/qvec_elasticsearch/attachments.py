"""The adapter's side of attaching: `qvec_elasticsearch.attaching` and `qvec_elasticsearch.swapping` do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from qvec.attaching import AttachForm, AttachRow, AttachSwap, SupportsAttachSwap
from qvec.types import Vectors
from qvec_elasticsearch import attaching, swapping
from qvec_elasticsearch.connection import Connection


class Attachments(SupportsAttachSwap):
    """Gives indexes of other programs a vector field, and another in its place."""

    _connection: Connection

    def attached_form(self, index: str) -> AttachForm | None:
        """Read the note in the mapping's ``_meta``."""
        return attaching.form_of(attaching.found(self._connection, index)[1])

    def attach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests."""
        return attaching.steps(self._connection, index, form)

    def attach_fields(self, index: str, form: AttachForm) -> None:
        """Add two fields and a note to the mapping; no document is touched."""
        attaching.add_fields(self._connection, index, form)

    def attach_rows(
        self, index: str, form: AttachForm, *, size: int, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[list[AttachRow]]:
        """Read through a point in time, or by id."""
        return attaching.rows(self._connection, index, form, size=size, ids=ids, vectors=vectors)

    def attach_count(self, index: str) -> int:
        """Count in Elasticsearch."""
        with self._connection.use() as client:
            return int(client.count(index=index)["count"])

    def attach_vectors(
        self, index: str, form: AttachForm, rows: Sequence[AttachRow], digests: Sequence[str], vectors: Vectors
    ) -> tuple[list[str], Mapping[str, str]]:
        """Update in one bulk request."""
        return attaching.write(self._connection, form, rows, digests, vectors) if rows else ([], {})

    def attach_end(self, index: str, form: AttachForm) -> bool:
        """Let searches see what was written; one pass is all it takes."""
        with self._connection.use() as client:
            client.indices.refresh(index=index)
        return False

    def attach_holder(self, index: str) -> str:
        """Read it from the mapping's ``_meta``."""
        return attaching.holder(self._connection, index)

    def hold_attach(self, index: str, holder: str) -> None:
        """Note it in the mapping's ``_meta``."""
        attaching.hold(self._connection, index, holder)

    def detach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests."""
        return attaching.undoing_steps(self._connection, index, form)

    def detach_fields(self, index: str, form: AttachForm) -> None:
        """Take values and note away; Elasticsearch removes no field from a mapping: both stay there, empty."""
        attaching.undo(self._connection, index, form)

    def attach_swap(self, index: str) -> AttachSwap | None:
        """Read the note in the mapping's ``_meta``."""
        return swapping.swap_of(attaching.found(self._connection, index)[1])

    def begin_swap_steps(self, index: str, form: AttachForm) -> list[str]:
        """Write the requests."""
        return swapping.begin_steps(self._connection, index, form)

    def begin_swap(self, index: str, form: AttachForm) -> None:
        """Add two more fields and a note to the mapping; no document is touched."""
        swapping.begin(self._connection, index, form)

    def exchange_forms_steps(self, index: str) -> list[str]:
        """Write the request."""
        return swapping.exchange_steps(self._connection, index)

    def exchange_forms(self, index: str) -> None:
        """Update the mapping's ``_meta``."""
        swapping.exchange(self._connection, index)

    def end_swap_steps(self, index: str) -> list[str]:
        """Write the requests."""
        return swapping.end_steps(self._connection, index)

    def end_swap(self, index: str) -> None:
        """Take values and note away; the two fields stay in the mapping, empty."""
        swapping.end(self._connection, index)
