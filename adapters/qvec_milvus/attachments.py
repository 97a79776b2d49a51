"""The adapter's side of attaching: `qvec_milvus.twins` and `qvec_milvus.attaching` do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qvec.attaching import AttachForm, AttachRow, SupportsAttach
from qvec.errors import CollectionNotFoundError
from qvec.types import Vectors
from qvec_milvus import twins
from qvec_milvus.attaching import Filling
from qvec_milvus.connection import Connection
from qvec_milvus.reading import Reader

_PASSES = 6
_FEW = 64


@dataclass(slots=True)
class Pass:
    """One pass over a collection that is being attached: its number, and how many rows it brought."""

    number: int = 1
    written: int = 0


class Attachments(SupportsAttach):
    """Gives collections of other programs a twin with vectors, which takes their name."""

    _connection: Connection
    _passes: dict[str, Pass]

    def attached_form(self, index: str) -> AttachForm | None:
        """Read what the twin was given."""
        twin = twins.find(self._connection, index)
        return twin.form if twin else None

    def attach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Say the requests in words."""
        new = twins.new_name(index)
        return [
            f"make the Milvus collection {new} with the fields and indexes of {index}, and {form.vector} and "
            f"{form.digest}; a Milvus before 2.4 has room for one vector field, the new one",
            f"note in the properties of {new}, time and again, who is at work, and at the end that nobody is",
            f"upsert every row of {index} into {new}, in batches by its key, until a pass finds nothing else",
            f"rename {index} to {index}_before, unless {index} is an alias",
            f"point the alias {index} at {new}",
            f"upsert into {new} what was written to {index} meanwhile",
        ]

    def attach_fields(self, index: str, form: AttachForm) -> None:
        """Make the twin, or open one that is there."""
        if twins.find(self._connection, index) is None:
            twins.make(self._connection, index, form)
        self._passes[index] = Pass()

    def attach_rows(
        self, index: str, form: AttachForm, *, size: int, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[list[AttachRow]]:
        """Read all rows in the first pass, in later ones those that the twin has otherwise."""
        twin = self._twin(index)
        filling = Filling(self._connection, twin)
        if ids is not None:
            return iter([filling.among(ids)])
        self._load(twin)
        is_first = self._passes.get(index, Pass()).number == 1 and not twin.is_switched
        if vectors or is_first or twin.is_settled:
            return filling.rows(size, vectors=vectors)
        return filling.differing(size)

    def attach_count(self, index: str) -> int:
        """Count what the first pass reads."""
        twin = self._twin(index)
        self._load(twin)
        return Reader(self._connection).count(twin.new if twin.is_settled else twin.old)

    def attach_vectors(
        self, index: str, form: AttachForm, rows: Sequence[AttachRow], digests: Sequence[str], vectors: Vectors
    ) -> tuple[list[str], Mapping[str, str]]:
        """Upsert into the twin."""
        self._passes.setdefault(index, Pass()).written += len(rows)
        return self._filling(index).write(rows, digests, vectors) if rows else [], {}

    def attach_without_vectors(self, index: str, form: AttachForm, rows: Sequence[AttachRow]) -> None:
        """Bring rows that have nothing to embed with a vector of zeros: Milvus has none without."""
        others = [row for row in rows if not row.stamp[0]]
        zeros = np.zeros((len(others), form.passport.dim), np.float32)
        self.attach_vectors(index, form, others, [""] * len(others), zeros)

    def attach_end(self, index: str, form: AttachForm) -> bool:
        """Exchange the names when a pass found little, and bring over the last of it."""
        done = self._passes[index]
        self._passes[index] = Pass(done.number + 1)
        twin = self._twin(index)
        if twin.is_settled:
            return False
        if not twin.is_switched and (done.number == 1 or (done.written > _FEW and done.number < _PASSES)):
            return True
        Filling(self._connection, twin).drop_extra()
        if twin.is_switched:
            twins.settle(self._connection, twin)
            # A run before this one was broken off after the exchange: the twin's own rows were not read as yet.
            return done.number == 1
        twins.switch(self._connection, twin)
        return True

    def attach_holder(self, index: str) -> str:
        """Read it from the twin's properties."""
        return twins.holder(self._connection, index)

    def hold_attach(self, index: str, holder: str) -> None:
        """Note it among the twin's properties."""
        twins.hold(self._connection, index, holder)

    def detach_steps(self, index: str, form: AttachForm) -> list[str]:
        """Say the requests in words."""
        twin = self._twin(index)
        if not twin.is_switched:
            return [f"drop the Milvus collection {twin.new}"]
        return [
            f"upsert into {twin.old}, and delete there, what was written by the name {index} since the exchange",
            f"give the name {index} back to {twin.old}",
            f"drop the Milvus collection {twin.new}",
        ]

    def detach_fields(self, index: str, form: AttachForm) -> None:
        """Bring back what was written since, give the name back, and drop the twin."""
        twin = self._twin(index)
        self._load(twin)
        if twin.is_switched:
            Filling(self._connection, twin).bring_back()
        twins.restore(self._connection, twin)

    def _twin(self, index: str) -> twins.Twin:
        twin = twins.find(self._connection, index)
        if twin is None:
            raise CollectionNotFoundError(f"the collection {index!r} is not attached")
        return twin

    def _load(self, twin: twins.Twin) -> None:
        """Make both searchable: Lite opens a file with its collections released, a server may have been restarted."""
        with self._connection.use() as client:
            for name in {twin.old, twin.new}:
                client.load_collection(name)

    def _filling(self, index: str) -> Filling:
        return Filling(self._connection, self._twin(index))
