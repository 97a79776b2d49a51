"""``qvec migrate verify`` and ``qvec migrate undo``, for copies and attached tables alike."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qvec.cli.migrate_options import carry_options, copy_job, ended, field_options, source_options, tell
from qvec.cli.migrate_progress import by_batches
from qvec.cli.options import database_options, model_options, write_json
from qvec.cli.progress import clear_line

if TYPE_CHECKING:
    from qvec.migrate import Attached, CopyJob, Difference, VerifyReport

_JOURNAL = click.option("--journal", metavar="FILE", help="The copy's state file. Default: as qvec migrate copy's.")
_COLLECTION = click.option("--collection", required=True, metavar="NAME", help="The copy's, or the table's name.")


@click.command()
@click.argument("source")
@_COLLECTION
@source_options
@field_options
@carry_options
@model_options
@_JOURNAL
@database_options
def verify(
    source: str,
    collection: str,
    model: str | None,
    dim: int | None,
    journal: str | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Compare a copy, or an attached table, with what it was made from; exit code 1 when anything differs.

    For a copy give what `qvec migrate copy` was given, for an attached table the URL of its database and --collection.
    With --json each difference is a document, and the summary is the last.
    """
    from qvec import migrate as api

    def told(difference: Difference) -> None:
        clear_line()
        tell(asdict(difference), [f"{difference.kind}: {difference.id}: {difference.what}"], as_json=as_json)

    job = _job(source, collection, model=model, dim=dim, journal=journal, backend=backend)
    with by_batches(as_json=as_json) as progress:
        report = api.verify(job, told=told, progress=progress)
    if as_json:
        facts = {name: getattr(report, name) for name in ("rows", "failed", "records", "sampled", "counts")}
        write_json({**facts, "is_same": report.is_same})
    else:
        click.echo(_line(collection, report))
    if not report.is_same:
        click.get_current_context().exit(1)


@click.command()
@click.argument("source")
@_COLLECTION
@source_options
@field_options
@carry_options
@_JOURNAL
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@database_options
def undo(source: str, collection: str, journal: str | None, dry_run: bool, backend: str | None, as_json: bool) -> None:
    """Take away all that a copy or an attach made.

    For a copy give what `qvec migrate copy` was given, for an attached table the URL of its database and --collection.
    """
    from qvec import migrate as api

    job = _job(source, collection, model=None, dim=None, journal=journal, backend=backend)
    steps = api.plan_undo(job) if dry_run else api.undo(job)
    lines = ended(steps) if dry_run else [*ended(steps), f"{collection}: undone"]
    tell({"dry_run": dry_run, "collection": collection, "steps": steps}, lines, as_json=as_json)


def _job(
    source: str, collection: str, *, model: str | None, dim: int | None, journal: str | None, backend: str | None
) -> CopyJob | Attached:
    """Tell a copy from an attached table: a database's URI is a copy's source only with the table or collection."""
    from qvec.cli.migrate_options import chosen_source
    from qvec.migrate import Attached
    from qvec.registry import adapter_names

    read = chosen_source()
    is_database = "://" in source or source.partition(":")[0] in adapter_names()
    if is_database and read.table is None and read.collection is None:
        return Attached(url=source, collection=collection)
    return copy_job(source, collection, model=model, dim=dim, journal=journal, backend=backend)


def _line(collection: str, report: VerifyReport) -> str:
    found = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.items()) or "all the same"
    return (
        f"{collection}: {report.rows:,} rows, {report.failed:,} known as failed; {report.records:,} records and "
        f"{report.sampled:,} vectors compared: {found}"
    )
