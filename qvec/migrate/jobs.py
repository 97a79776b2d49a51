"""One verb for every kind of migration: `verify` and `undo` know by its job what there is to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from qvec.embedder import Embedder
from qvec.migrate.copy_job import CopyJob, CopyProgress
from qvec.migrate.copy_verify import verify_copy
from qvec.migrate.copying import plan_undo_copy, undo_copy
from qvec.migrate.index_attach import detach_index, plan_detach_index, verify_index
from qvec.migrate.pg_detach import detach, plan_detach
from qvec.migrate.pg_session import attached, connected
from qvec.migrate.pg_verify import verify_attached
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.verifying import Difference, VerifyReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A table or an index that was attached.

    Attributes:
        url: of its database.
        collection: the name that a table is searched by, or that of an index.
        embedder: its model, loaded already; None loads the one of the collection.
    """

    url: str
    collection: str
    embedder: Embedder | None = None

    @property
    def is_index(self) -> bool:
        """Whether it is an index, not a PostgreSQL table."""
        return not self.url.startswith(("postgres", "pgvector"))


Job: TypeAlias = CopyJob | Attached


def verify(
    job: Job,
    *,
    told: Callable[[Difference], None] | None = None,
    progress: Callable[[CopyProgress], None] | None = None,
) -> VerifyReport:
    """Compare the target of a migration with its source as it is now, in constant memory.

    Every row's text (and metadata, in a copy) is compared with what is searched, both key sets, and the vectors of a
    sample with the same texts' embedded again.

    Args:
        job: the copy as it was given to `copy`, or what was attached.
        told: called with each difference.
        progress: called after each batch.

    Raises:
        MigrationError: the target of the copy is not there.
        CollectionNotFoundError: nothing is attached under this name.
        QvecError: a database or the model failed.
    """
    if isinstance(job, CopyJob):
        return verify_copy(job, told=told, progress=progress)
    if job.is_index:
        return verify_index(job.url, job.collection, embedder=job.embedder, told=told, progress=progress)
    return verify_attached(job.url, job.collection, embedder=job.embedder, told=told, progress=progress)


def undo(job: Job) -> list[str]:
    """Take away all that a migration made; its source is as it was before.

    A copy's collection is dropped only when the copy made it; of what was attached, a swap that was not ended goes too.
    Elasticsearch removes no field from a mapping: an index keeps those that it was given, without values.

    Args:
        job: the copy as it was given to `copy`, or what was attached.

    Returns:
        What was done, in statements or words.

    Raises:
        MigrationError: there is no journal of such a copy, or an attach is at work.
        CollectionNotFoundError: nothing is attached under this name.
    """
    steps = plan_undo(job)
    if isinstance(job, CopyJob):
        undo_copy(job)
    elif job.is_index:
        detach_index(job.url, job.collection)
    else:
        for name in _attached_as(job):
            detach(job.url, name)
    return steps


def plan_undo(job: Job) -> list[str]:
    """Say what `undo` would do, in statements or words.

    Raises:
        QvecError: as `undo` says.
    """
    if isinstance(job, CopyJob):
        return plan_undo_copy(job)
    if job.is_index:
        return plan_detach_index(job.url, job.collection)
    return plan_detach(job.url, *_attached_as(job))


def _attached_as(job: Attached) -> list[str]:
    """Name what the table is attached as: twice while a swap is open, each with triggers and tables of its own."""
    shadow = SwapJob(url=job.url, collection=job.collection).shadow
    with connected(job.url) as connection:
        found = [attached(connection, name) for name in (job.collection, shadow)]
    sources = [table.source for table in found if table is not None]
    return [shadow, job.collection] if len(sources) == 2 and sources[0] == sources[1] else [job.collection]
