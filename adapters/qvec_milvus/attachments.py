"""The adapter's side of attaching: `qvec_milvus.twins`, `.attaching` and `.swapping` do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qvec.attaching import AttachForm, AttachRow, AttachSwap, SupportsAttachSwap
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.types import Vectors
from qvec_milvus import swapping, twins
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


class Attachments(SupportsAttachSwap):
    """Gives collections of other programs a twin with vectors, which takes their name, and another in its place."""

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
        twin = self._filled(index, form)
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
        return Filling(self._connection, self._filled(index, form)).write(rows, digests, vectors) if rows else [], {}

    def attach_without_vectors(self, index: str, form: AttachForm, rows: Sequence[AttachRow]) -> None:
        """Bring rows that have nothing to embed with a vector of zeros: Milvus has none without."""
        others = [row for row in rows if not row.stamp[0]]
        zeros = np.zeros((len(others), form.passport.dim), np.float32)
        self.attach_vectors(index, form, others, [""] * len(others), zeros)

    def attach_end(self, index: str, form: AttachForm) -> bool:
        """Exchange the names when a pass found little, and bring over the last of it."""
        done = self._passes.pop(index, Pass())
        twin = self._filled(index, form)
        if twin.is_settled:
            return False
        if twin.old in twins.names(index):
            return self._end_of_swap(twin)
        is_more = not twin.is_switched and (done.number == 1 or (done.written > _FEW and done.number < _PASSES))
        if not is_more:
            Filling(self._connection, twin).drop_extra()
            if twin.is_switched:
                twins.settle(self._connection, twin)
                # A run before this one was broken off after the exchange: the twin's own rows were not read as yet.
                is_more = done.number == 1
            else:
                twins.switch(self._connection, twin)
                is_more = True
        self._passes[index] = Pass(done.number + 1)
        return is_more

    def _end_of_swap(self, twin: twins.Twin) -> bool:
        Filling(self._connection, twin).drop_extra()
        if twin.is_switched:
            swapping.settle(self._connection, twin.name)
        # What others wrote by the name is read in another pass.
        return twin.is_switched

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
        pair = swapping.find(self._connection, twin)
        return [
            *([f"drop the Milvus collection {pair.beside.new}"] if pair else []),
            f"upsert into {twin.old}, and delete there, what was written by the name {index} since the exchange",
            f"give the name {index} back to {twin.old}",
            f"drop the Milvus collection {twin.new}",
        ]

    def detach_fields(self, index: str, form: AttachForm) -> None:
        """Bring back what was written since, give the name back, and drop the twin."""
        twin = self._twin(index)
        if (pair := swapping.find(self._connection, twin)) is not None:
            swapping.end(self._connection, pair)
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

    def _filled(self, index: str, form: AttachForm) -> twins.Twin:
        """Say what is filled from what: a swap goes from one twin to another."""
        live = self._twin(index)
        pair = swapping.find(self._connection, live)
        return pair.into(form) if pair else live

    def attach_swap(self, index: str) -> AttachSwap | None:
        """Look the second twin up."""
        pair = swapping.find(self._connection, self._twin(index))
        return pair.swap if pair else None

    def begin_swap_steps(self, index: str, form: AttachForm) -> list[str]:
        """Say the requests in words."""
        return swapping.begin_steps(self._twin(index), form)

    def begin_swap(self, index: str, form: AttachForm) -> None:
        """Make the second twin."""
        live = self._twin(index)
        if not live.is_settled:
            raise UnsupportedError(f"the attach of {index!r} was broken off: run it again before the swap")
        swapping.begin(self._connection, live, form)

    def exchange_forms_steps(self, index: str) -> list[str]:
        """Say the requests in words."""
        return swapping.exchange_steps(self._twin(index))

    def exchange_forms(self, index: str) -> None:
        """Move the alias."""
        swapping.exchange(self._connection, self._pair(index))

    def end_swap_steps(self, index: str) -> list[str]:
        """Say the requests in words."""
        return [f"drop the Milvus collection {self._pair(index).beside.new}"]

    def end_swap(self, index: str) -> None:
        """Drop the second twin."""
        swapping.end(self._connection, self._pair(index))

    def _pair(self, index: str) -> swapping.Pair:
        return swapping.need(swapping.find(self._connection, self._twin(index)), index)
