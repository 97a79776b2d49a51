"""A second twin beside the one that has a collection's name, and the exchange of the two.

It has the first one's fields, by the same names, and other vectors in them: who writes by the name goes on writing. One
request points the alias at it. ``NAME_qvec_swap_unsettled`` is an alias of the one that lost the name, from then until
what was written to it in the last moment was brought over. A row that only that one has may be new, or deleted by the
name since: it is brought, for no row may be lost; so a run that was killed there should not be left lying.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from qvec.attaching import AttachForm, AttachSwap, State
from qvec.errors import CollectionExistsError, CollectionNotFoundError
from qvec_milvus import twins
from qvec_milvus.connection import Connection
from qvec_milvus.naming import own_name
from qvec_milvus.twins import Twin

_BACK = "qvec.back"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two twins of one collection.

    Attributes:
        live: the one that has the name.
        beside: the other one.
        was_back: whether the name was given back once.
        is_unsettled: whether the last writes to the other one are still to be brought over.
    """

    live: Twin
    beside: Twin
    was_back: bool
    is_unsettled: bool

    @property
    def swap(self) -> AttachSwap:
        """What is told of it."""
        is_switched = self.live.turn > self.beside.turn
        state: State = "switched" if is_switched else "back" if self.was_back else "filling"
        table = "{name}" + self.beside.new.removeprefix(self.live.name)
        return AttachSwap(self.beside.form, state, table, not self.is_unsettled)

    def into(self, form: AttachForm) -> Twin:
        """Say what is filled from what, for the one with this form."""
        if form.passport == self.beside.form.passport:
            return replace(self.beside, old=self.live.new, left={}, is_switched=False, is_unsettled=False)
        if self.is_unsettled:
            return replace(self.live, old=self.beside.new, left={}, is_switched=True, is_unsettled=True)
        return self.live


def unsettled_name(name: str) -> str:
    """Name the alias that stands while the last writes are brought over."""
    return f"{name}_qvec_swap_unsettled"


def find(connection: Connection, live: Twin) -> Pair | None:
    """Look up what is beside a twin; None when nothing is."""
    other = _other(live)
    with connection.use() as client:
        if not live.is_switched or not client.has_collection(other):
            return None
        said = client.describe_collection(other)
        pending = unsettled_name(live.name)
        is_unsettled = client.has_collection(pending) and own_name(client, pending) == other
    beside = twins.read(connection, live.name, other)
    if beside is None:
        return None
    was_back = bool((said.get("properties") or {}).get(_BACK))
    return Pair(live, beside, was_back, is_unsettled)


def begin(connection: Connection, live: Twin, form: AttachForm) -> None:
    """Make the second twin, empty.

    Raises:
        CollectionExistsError: its name is taken.
    """
    with connection.use() as client:
        is_taken = find(connection, live) is None and client.has_collection(_other(live))
    if is_taken:
        raise CollectionExistsError(f"Milvus holds a collection {_other(live)!r}, which the swap would make")
    own = replace(form, id=live.form.id, vector=live.form.vector, digest=live.form.digest)
    note = {
        "form": asdict(own),
        "before": live.before,
        "was_alias": live.was_alias,
        "left": dict(live.left),
        "turn": live.turn + 1,
    }
    twins.create(connection, live.new, _other(live), own, note)


def begin_steps(live: Twin, form: AttachForm) -> list[str]:
    """Say the requests of the beginning in words."""
    return [
        f"make the Milvus collection {_other(live)} with the fields and indexes of {live.new}, and {form.passport.dim} "
        f"dimensions in {live.form.vector}",
        f"upsert every row of {live.new} into it, in batches by its key, until a pass finds nothing else",
    ]


def exchange(connection: Connection, pair: Pair) -> None:
    """Point the name at the other twin."""
    lost, pending = pair.live.new, unsettled_name(pair.live.name)
    with connection.use() as client:
        if pair.live.turn > pair.beside.turn:
            client.alter_collection_properties(lost, {_BACK: "yes"})
        if client.has_collection(pending):
            client.alter_alias(lost, pending)
        else:
            client.create_alias(lost, pending)
        client.alter_alias(pair.beside.new, pair.live.name)


def exchange_steps(live: Twin) -> list[str]:
    """Say the requests of the exchange in words."""
    other = _other(live)
    return [f"point the alias {live.name} at {other}", f"upsert into {other} what was written to {live.new} meanwhile"]


def settle(connection: Connection, name: str) -> None:
    """Note that the last writes were brought over."""
    with connection.use() as client:
        client.drop_alias(unsettled_name(name))


def end(connection: Connection, pair: Pair) -> None:
    """Drop the twin that has not the name."""
    pending = unsettled_name(pair.live.name)
    with connection.use() as client:
        if client.has_collection(pending):
            client.drop_alias(pending)
        client.drop_collection(pair.beside.new)


def need(pair: Pair | None, index: str) -> Pair:
    """Refuse where no swap is open."""
    if pair is None:
        raise CollectionNotFoundError(f"no swap of {index!r} is open")
    return pair


def _other(live: Twin) -> str:
    first, second = twins.names(live.name)
    return second if live.new == first else first
