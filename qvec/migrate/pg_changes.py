"""Which rows of an attached table have changed: from the queue that triggers fill, or by comparing a version column."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from qvec.migrate.fields import join_id
from qvec.migrate.pg_rows import run, run_many
from qvec.migrate.pg_table import PgTable, quoted

if TYPE_CHECKING:
    import sqlalchemy as sa

MOST_TRIES = 8
"""So often a row is tried that its model refuses, over about four hours."""

_BATCH = 256
_SCAN = 10_000
_ROW_LOCK = 0x71767277  # "qvrw"
_FIRST_WAIT, _LONGEST_WAIT = 60, 7200

Key: TypeAlias = "tuple[str, ...]"


@dataclass(frozen=True, slots=True)
class Claim:
    """Changes that one worker has in hand until its transaction ends.

    Attributes:
        keys: of the rows, each once, none of them in another worker's hands.
        tries: how often each has failed.
        numbers: of the queue's entries; `numbers_of` has those of each row.
        versions: of the rows as they were before they were read.
        is_emptied: the table was truncated.
    """

    keys: list[Key] = field(default_factory=list)
    tries: Mapping[Key, int] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    versions: Mapping[Key, str | None] = field(default_factory=dict)
    is_emptied: bool = False
    numbers_of: Mapping[Key, list[int]] = field(default_factory=dict)

    def without(self, busy: Collection[Key]) -> Claim:
        """Leave out rows, with their entries: they stay for another time."""
        if not busy:
            return self
        kept = {number for key in busy for number in self.numbers_of.get(key, ())}
        return replace(
            self,
            keys=[key for key in self.keys if key not in busy],
            numbers=[number for number in self.numbers if number not in kept],
            versions={key: value for key, value in self.versions.items() if key not in busy},
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not done: changes now due, rows to be tried again later, and the age of the oldest change in seconds."""

    due: int
    later: int
    lag: float


class Changes(Protocol):
    """Where a worker finds out what has changed."""

    @abstractmethod
    def claim(self, connection: sa.Connection) -> Claim | None:
        """Take changes in hand, inside a transaction; None when nothing is left that another worker has not."""

    @abstractmethod
    def settle(self, connection: sa.Connection, claim: Claim, again: Collection[Key]) -> None:
        """Let go of what was done; the rows of `again` are tried again later."""

    @abstractmethod
    def waiting(self, connection: sa.Connection) -> Waiting:
        """Count what is not done."""


def changes_of(table: PgTable) -> Changes | None:
    """Choose by how the table was attached; None: it is not followed."""
    if table.triggers:
        return QueuedChanges(table)
    return PolledChanges(table) if table.version else None


class QueuedChanges(Changes):
    """Changes that the table's triggers queued."""

    def __init__(self, table: PgTable) -> None:
        self.table = table

    def claim(self, connection: sa.Connection) -> Claim | None:
        """Take entries that nobody has; another entry of a row that somebody has is left for later."""
        names = ", ".join(f"key_{at}::text" for at in range(1, len(self.table.key) + 1))
        statement = (
            f"SELECT number, ARRAY[{names}], tries FROM {self.table.queue} WHERE due <= clock_timestamp() "
            f"ORDER BY number LIMIT {_BATCH} FOR UPDATE SKIP LOCKED"
        )
        found = [(int(number), tuple(key), int(tries)) for number, key, tries in run(connection, statement)]
        emptied = [number for number, key, _ in found if None in key]
        rows = [item for item in found if None not in item[1]]
        free = lock_rows(connection, self.table.number, list(dict.fromkeys(key for _, key, _ in rows)))
        held = set(free)
        # A row that was written again is another row: it begins anew.
        tries = {key: min(count for _, other, count in rows if other == key) for key in free}
        numbers = [*emptied, *(number for number, key, _ in rows if key in held)]
        own = {key: [number for number, other, _ in rows if other == key] for key in free}
        return Claim(free, tries, numbers, is_emptied=bool(emptied), numbers_of=own) if numbers else None

    def settle(self, connection: sa.Connection, claim: Claim, again: Collection[Key]) -> None:
        """Delete the entries; those to be tried again come back with a later date."""
        run(connection, f"DELETE FROM {self.table.queue} WHERE number = ANY(%(numbers)s)", {"numbers": claim.numbers})
        columns = range(1, len(self.table.key) + 1)
        casts = [f"CAST(%(key_{at})s AS {kind})" for at, (_, kind) in enumerate(self.table.key, 1)]
        statement = (
            f"INSERT INTO {self.table.queue} ({', '.join(f'key_{at}' for at in columns)}, tries, due) VALUES "
            f"({', '.join(casts)}, %(tries)s, clock_timestamp() + make_interval(secs => %(wait)s))"
        )
        values = [{**keyed(key), **_again(claim.tries[key])} for key in again if claim.tries[key] + 1 < MOST_TRIES]
        if values:
            run_many(connection, statement, values)

    def waiting(self, connection: sa.Connection) -> Waiting:
        """Count the queue."""
        is_due = "due <= clock_timestamp()"
        oldest = f"extract(epoch FROM clock_timestamp() - min(queued_at) FILTER (WHERE {is_due}))"
        due, later, lag = run(
            connection,
            f"SELECT count(*) FILTER (WHERE {is_due}), count(*) FILTER (WHERE NOT {is_due}), coalesce({oldest}, 0) "
            f"FROM {self.table.queue}",
        ).one()
        return Waiting(int(due), int(later), float(lag))


class PolledChanges(Changes):
    """Rows whose version is another one than when they were embedded, and rows that came or went.

    Every version is compared, not only those beyond the last one seen: a transaction that commits late would be
    missed, and a counter of each row's own has no order among rows.
    """

    def __init__(self, table: PgTable) -> None:
        self.table = table
        self._left: list[tuple[Key, int]] = []
        self._seen: set[Key] = set()

    def claim(self, connection: sa.Connection) -> Claim | None:
        """Compare all rows when nothing is left of the last comparison; a row comes up once in a run."""
        if not self._left:
            found = run(connection, f"{self._differing()} LIMIT {_SCAN + len(self._seen)}")
            self._left = [(tuple(key), int(tries)) for key, tries, _ in found if tuple(key) not in self._seen]
            self._seen |= {key for key, _ in self._left}
        if not self._left:
            return None
        batch, self._left = self._left[:_BATCH], self._left[_BATCH:]
        free = lock_rows(connection, self.table.number, [key for key, _ in batch])
        names = ", ".join(f"t.{key}::text" for key in self.table.keys)
        statement = (
            f"SELECT ARRAY[{names}], t.{quoted(self.table.version)}::text FROM {self.table.source} t "
            f"WHERE {self.table.is_among()}"
        )
        versions = {tuple(key): value for key, value in run(connection, statement, keyed_lists(self.table, free))}
        return Claim(free, dict(batch), versions=versions)

    def settle(self, connection: sa.Connection, claim: Claim, again: Collection[Key]) -> None:
        """Note the versions; a row that is gone is forgotten."""
        count = len(self.table.key)
        names = [f"key_{at}" for at in range(1, count + 1)]
        lists = ", ".join(f"CAST(%(key_{at})s AS {kind}[])" for at, (_, kind) in enumerate(self.table.key, 1))
        run(
            connection,
            f"DELETE FROM {self.table.seen} WHERE ({', '.join(names)}) IN (SELECT * FROM unnest({lists}))",
            keyed_lists(self.table, claim.keys),
        )
        casts = [f"CAST(%(key_{at})s AS {kind})" for at, (_, kind) in enumerate(self.table.key, 1)]
        statement = (
            f"INSERT INTO {self.table.seen} ({', '.join(names)}, version, tries, due) VALUES ({', '.join(casts)}, "
            "%(version)s, %(tries)s, clock_timestamp() + make_interval(secs => %(wait)s))"
        )
        done: dict[str, object] = {"tries": 0, "wait": None}
        values = [
            {
                **keyed(key),
                "version": version,
                **(_again(claim.tries[key]) if key in again and claim.tries[key] + 1 < MOST_TRIES else done),
            }
            for key, version in claim.versions.items()
        ]
        if values:
            run_many(connection, statement, values)

    def waiting(self, connection: sa.Connection) -> Waiting:
        """Count the rows that differ; how old a change is, only a version that is a time tells."""
        statement = (
            "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(written)), 0) "
            f"FROM ({self._differing()}) AS found"
        )
        due, lag = run(connection, statement).one()
        later = f"SELECT count(*) FROM {self.table.seen} WHERE due > clock_timestamp()"
        return Waiting(int(due), int(run(connection, later).scalar_one()), max(float(lag), 0.0))

    def _differing(self) -> str:
        table = self.table
        pairs = list(zip(table.keys, (f"key_{at}" for at in range(1, len(table.key) + 1)), strict=True))
        names = ", ".join(f"coalesce(t.{key}, s.{other})::text" for key, other in pairs)
        same = " AND ".join(f"t.{key} = s.{other}" for key, other in pairs)
        version = f"t.{quoted(table.version)}::text"
        is_time = f"pg_typeof(t.{quoted(table.version)}) IN ('timestamptz'::regtype, 'timestamp'::regtype)"
        return (
            f"SELECT ARRAY[{names}], CASE WHEN s.version IS DISTINCT FROM {version} THEN 0 ELSE s.tries END, "
            f"CASE WHEN {is_time} THEN {version}::timestamptz END AS written "
            f"FROM {table.source} t FULL JOIN {table.seen} s ON {same} "
            f"WHERE s.version IS DISTINCT FROM {version} OR s.key_1 IS NULL OR t.{table.keys[0]} IS NULL "
            "OR s.due <= clock_timestamp()"
        )


def keyed(key: Sequence[str]) -> dict[str, object]:
    """Name the values of a key as the statements do."""
    return {f"key_{at}": value for at, value in enumerate(key, 1)}


def keyed_lists(table: PgTable, keys: Sequence[Key]) -> dict[str, object]:
    """Name the values of many keys, a list for each column."""
    return {f"key_{at}": [key[at - 1] for key in keys] for at in range(1, len(table.key) + 1)}


def lock_rows(connection: sa.Connection, number: int, keys: Sequence[Key]) -> list[Key]:
    """Take those rows in hand, until the transaction ends, that no other worker has."""
    if not keys:
        return []
    # Asked for without waiting: two workers that wait for each other's rows would never end.
    statement = (
        "SELECT pg_try_advisory_xact_lock(%(lock)s::int, hashtext(id)) FROM unnest(%(ids)s::text[]) "
        "WITH ORDINALITY AS wanted (id, place) ORDER BY place"
    )
    ids = [f"{number} {join_id(key)}" for key in keys]
    taken = run(connection, statement, {"lock": _ROW_LOCK, "ids": ids})
    return [key for key, (is_ours,) in zip(keys, taken, strict=True) if is_ours]


def _again(tries: int) -> dict[str, object]:
    return {"tries": tries + 1, "wait": min(_FIRST_WAIT * 2**tries, _LONGEST_WAIT)}
