"""The kinds of collection that can be swapped: qvec's own in any database, attached tables, and attached indexes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace

from qvec.adapter import Adapter, SupportsCreateSteps, SupportsExchange
from qvec.checks import check_name
from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.following import Follower
from qvec.migrate.pg_attach import AttachJob, attach, plan_attach
from qvec.migrate.pg_detach import detach, plan_detach
from qvec.migrate.pg_session import attached, connected
from qvec.migrate.pg_sync import SyncReport, sync
from qvec.migrate.pg_table import PgTable
from qvec.migrate.swap_index import open_index
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.swap_journal import SwapJournal
from qvec.migrate.swap_side import Side, Told, asked_embedder
from qvec.passport import passport_of
from qvec.registry import load_embedder, open_adapter
from qvec.types import CollectionSpec, IndexSpec, Passport
from qvec.uri import URI


@contextmanager
def open_side(job: SwapJob) -> Iterator[Side]:
    """Open a collection that is to be swapped.

    Raises:
        CollectionNotFoundError: it is not there.
        UnsupportedError: the database cannot exchange names.
    """
    with ExitStack() as stack:
        adapter = open_adapter(job.url)
        stack.callback(adapter.close)
        index = open_index(job, adapter, stack)
        if index is not None:
            yield index
            return
        check_name(job.shadow)
        if not isinstance(adapter, SupportsExchange):
            raise UnsupportedError(f"{adapter.capabilities.database} cannot let one collection take another's place")
        live = adapter.describe_collection(job.collection)
        table = _attached(job)
        if table is not None:
            yield _Table(job, adapter, table)
            return
        yield _Records(job, adapter, live, stack.enter_context(SwapJournal(job.journal_path)))


def _attached(job: SwapJob) -> PgTable | None:
    if not URI.parse(job.url).scheme.startswith("postgres"):
        return None
    with connected(job.url) as connection:
        return attached(connection, job.collection)


def _is_there(adapter: Adapter, name: str) -> bool:
    try:
        adapter.describe_collection(name)
    except CollectionNotFoundError:
        return False
    return True


class _Records(Side):
    """A collection of qvec's own: passes over its records, remembered in a journal."""

    def __init__(self, job: SwapJob, adapter: Adapter, live: CollectionSpec, journal: SwapJournal) -> None:
        self.adapter = adapter
        self.collection = job.collection
        self._job = job
        self._journal = journal
        self._live = live
        self._loaded: dict[str, Embedder] = {}

    def is_switched(self) -> bool:
        new = self._journal.fact("new")
        return bool(new) and _written(self.adapter.describe_collection(self.collection).passport) == new

    def was_switched_back(self) -> bool:
        return bool(self._journal.fact("back")) and not self.is_switched()

    def has_shadow(self) -> bool:
        return bool(self._journal.fact("new")) and _is_there(self.adapter, self._job.shadow)

    def prepare(self, progress: Told) -> int:
        embedder = asked_embedder(self._job, self._live.passport)
        passport = _passport(embedder, self._live.passport)
        if passport == self._live.passport:
            raise MigrationError(f"{self.collection!r} has the vectors of {embedder.model_id} already")
        known = self._journal.fact("new")
        if known and known != _written(passport):
            raise MigrationError(f"a swap of {self.collection!r} to another model is open: end it first")
        if not known:
            if _is_there(self.adapter, self._job.shadow):
                raise MigrationError(f"there is a collection {self._job.shadow!r}, and the journal knows nothing of it")
            self._journal.note("new", _written(passport))
        self._loaded[_written(passport)] = embedder
        spec = replace(self._live, name=self._job.shadow, dim=embedder.dim, passport=passport)
        self.adapter.create_collection(spec, exist_ok=True)
        return self.follow(into_shadow=True, progress=progress)

    def preparation(self) -> list[str]:
        embedder = asked_embedder(self._job, self._live.passport)
        count = self.adapter.count(self.collection)
        spec = replace(
            self._live,
            name=self._job.shadow,
            dim=embedder.dim,
            passport=_passport(embedder, self._live.passport),
        )
        return [
            f"make the collection {self._job.shadow} of {embedder.dim} dimensions",
            *(self.adapter.create_steps(spec) if isinstance(self.adapter, SupportsCreateSteps) else []),
            f"embed {count:,} records of {self.collection} with {embedder.model_id}",
            f"keep the state in {self._job.journal_path}",
        ]

    def follow(self, *, into_shadow: bool, progress: Told) -> int:
        source, target = (self.collection, self._job.shadow) if into_shadow else (self._job.shadow, self.collection)
        passport = self.adapter.describe_collection(target).passport
        follower = Follower(
            adapter=self.adapter,
            journal=self._journal,
            source=source,
            target=target,
            embedder=self._model_of(passport),
            passport=passport,
            spares_newer=not into_shadow,
        )
        return follower.run(progress)

    def measured(self) -> tuple[Adapter, str]:
        return self.adapter, self._job.shadow

    def exchange(self) -> None:
        assert isinstance(self.adapter, SupportsExchange)
        # Noted beforehand: who is killed between the two is still switched, and that counts.
        self._journal.note("back", "yes" if self.is_switched() else "")
        self.adapter.exchange(self.collection, self._job.shadow)

    def exchange_steps(self) -> list[str]:
        assert isinstance(self.adapter, SupportsExchange)
        if not self.has_shadow():
            return [f"let {self.collection} and {self._job.shadow} trade names"]
        return self.adapter.exchange_steps(self.collection, self._job.shadow)

    def dropping(self) -> list[str]:
        return [f"drop the collection {self._job.shadow}", f"delete {self._job.journal_path}"]

    def drop_shadow(self) -> None:
        self.adapter.drop_collection(self._job.shadow)
        self._journal.close()
        self._job.journal_path.unlink()

    def _model_of(self, passport: Passport | None) -> Embedder:
        written = _written(passport)
        if written not in self._loaded:
            is_asked = written == self._journal.fact("new")
            if is_asked or passport is None:
                self._loaded[written] = asked_embedder(self._job, passport)
            else:
                self._loaded[written] = load_embedder(passport.model_id, dim=passport.dim)
        return self._loaded[written]


class _Table(Side):
    """An attached table: the shadow is attached to it as well, with a trigger and a queue of its own."""

    def __init__(self, job: SwapJob, adapter: Adapter, table: PgTable) -> None:
        self.adapter = adapter
        self.collection = job.collection
        self._job = job
        self._table = table

    def is_switched(self) -> bool:
        with connected(self._job.url) as connection:
            live, shadow = (attached(connection, name) for name in (self.collection, self._job.shadow))
        # The shadow was made later, so it has the higher number.
        return live is not None and shadow is not None and live.number > shadow.number

    def was_switched_back(self) -> bool:
        # No matter: what was written in the last moment is in the table, and another sync or attach follows it.
        return False

    def has_shadow(self) -> bool:
        with connected(self._job.url) as connection:
            return attached(connection, self._job.shadow) is not None

    def prepare(self, progress: Told) -> int:
        return attach(self._attach_job(self._job.shadow, self._asked()), progress=progress).embedded

    def preparation(self) -> list[str]:
        return plan_attach(self._attach_job(self._job.shadow, self._asked()))

    def follow(self, *, into_shadow: bool, progress: Told) -> int:
        name = self._job.shadow if into_shadow else self.collection
        if self._table.triggers or self._table.version:
            report = sync(self._job.url, name, embedder=self._given(name), progress=progress and _told(progress))
            return report.embedded + report.deleted
        found = attach(self._attach_job(name, self._given(name)), progress=progress)
        return found.embedded + found.removed

    def measured(self) -> tuple[Adapter, str]:
        return self.adapter, self._job.shadow

    def exchange(self) -> None:
        assert isinstance(self.adapter, SupportsExchange)
        self.adapter.exchange(self.collection, self._job.shadow)

    def exchange_steps(self) -> list[str]:
        assert isinstance(self.adapter, SupportsExchange)
        return self.adapter.exchange_steps(self.collection, self._job.shadow)

    def dropping(self) -> list[str]:
        return plan_detach(self._job.url, self._job.shadow)

    def drop_shadow(self) -> None:
        detach(self._job.url, self._job.shadow)

    def _asked(self) -> Embedder:
        return asked_embedder(self._job, self.adapter.describe_collection(self.collection).passport)

    def _given(self, name: str) -> Embedder | None:
        """The model that is loaded already, where it is the one of this collection."""
        given = self._job.embedder
        passport = self.adapter.describe_collection(name).passport
        return given if given is not None and passport == passport_of(given) else None

    def _attach_job(self, name: str, embedder: Embedder | None) -> AttachJob:
        table = self._table
        return AttachJob(
            url=self._job.url,
            table=table.name,
            schema=table.schema,
            collection=name,
            fields=table.fields,
            embedder=embedder,
            in_table=table.in_table,
            triggers=table.triggers,
            version=table.version or None,
            index=IndexSpec(m=table.m, ef_construction=table.ef_construction),
        )


def _told(progress: Callable[[CopyProgress], None]) -> Callable[[SyncReport], None]:
    def told(report: SyncReport) -> None:
        done = report.embedded + report.unchanged + report.deleted + report.failed
        progress(CopyProgress(done, None, "followed"))

    return told


def _written(passport: Passport | None) -> str:
    return json.dumps(asdict(passport), sort_keys=True) if passport else ""


def _passport(embedder: Embedder, live: Passport | None) -> Passport:
    """Write the shadow's passport: how its documents were cut and its tokens are made stays as it is."""
    if live is None:
        return passport_of(embedder)
    made = passport_of(embedder, chunker=live.chunker, long_text=live.long_text)
    return replace(made, lexical_version=live.lexical_version)
