"""``qvec migrate``: copy, plan, attach, detach and sync; the rest stands in files of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvec.cli.migrate_index import attach_in_place, attach_index
from qvec.cli.migrate_options import (
    carry_options,
    chosen_fields,
    chosen_source,
    copy_job,
    ended,
    field_options,
    settings_of,
    source_options,
    tell,
    tell_errors,
)
from qvec.cli.migrate_progress import by_batches
from qvec.cli.migrate_swap import swap as swap_command
from qvec.cli.migrate_sync import sync
from qvec.cli.migrate_verify import undo as undo_command
from qvec.cli.migrate_verify import verify as verify_command
from qvec.cli.options import database_options, model_options
from qvec.cli.plan_lines import plan_lines

if TYPE_CHECKING:
    from qvec.migrate import CopyJob


@click.group()
def migrate() -> None:
    """Search tables where they stand, and copy from store to store.

    Every command takes --json.
    """


migrate.add_command(verify_command)
migrate.add_command(undo_command)
migrate.add_command(swap_command)
migrate.add_command(attach_index)


@migrate.command()
@click.argument("source")
@source_options
@field_options
@click.option("--collection", required=True, metavar="NAME", help="Where to: made when it is not there.")
@model_options
@carry_options
@click.option("--journal", metavar="FILE", help="The state file. Default: one under ./.qvec/migrate.")
@click.option("--restart", is_flag=True, help="Forget a run that was broken off.")
@click.option("--stop-on-error", is_flag=True, help="Stop at the first bad row; else they are listed.")
@click.option("--errors", metavar="FILE", help="Write all bad rows there, as JSON lines.")
@click.option("--undo", is_flag=True, help="Drop the collection that this copy made, and its state.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@database_options
def copy(
    source: str,
    collection: str,
    model: str | None,
    dim: int | None,
    journal: str | None,
    restart: bool,
    stop_on_error: bool,
    errors: str | None,
    undo: bool,
    dry_run: bool,
    backend: str | None,
    as_json: bool,
) -> None:
    """Copy SOURCE into a collection; run again after a break, it goes on.

    SOURCE is a file (.jsonl, .csv, .tsv, .parquet), a SQLAlchemy URL with --table, or the URI of one of qvec's
    databases with --from-collection. Vectors are carried where the models agree.
    """
    from qvec import migrate as api

    job = copy_job(source, collection, model=model, dim=dim, journal=journal, backend=backend)
    if dry_run:
        plan = api.plan_copy(job)
        tell(asdict(plan), ended(plan.steps), as_json=as_json)
    elif undo:
        dropped = api.undo_copy(job)
        line = f"dropped {collection}" if dropped else f"{collection} was there before the copy and stays"
        tell({"collection": collection, "dropped": dropped}, [line], as_json=as_json)
    else:
        _copy(job, errors, restart=restart, stop=stop_on_error, as_json=as_json)


def _copy(job: CopyJob, errors: str | None, *, restart: bool, stop: bool, as_json: bool) -> None:
    from qvec import migrate as api

    with by_batches(as_json=as_json) as progress:
        report = api.copy(job, restart=restart, on_error="stop" if stop else "list", progress=progress)
    if errors is not None:
        lines = (json.dumps({"place": place, "reason": reason}) + "\n" for place, reason in api.copy_errors(job))
        Path(errors).write_text("".join(lines), encoding="utf-8")
    vectors = "carried" if report.carried else "made"
    long = f"{report.long:,} long rows ({report.long_text}); " if report.long else ""
    line = (
        f"{job.collection}: {report.documents:,} rows in {report.records:,} records, vectors {vectors}; "
        f"{long}{report.failed:,} bad rows; "
        f"{report.verified:,} compared; {report.seconds:.1f} s"
    )
    tell(asdict(report), [line], as_json=as_json)
    tell_errors(report.errors, report.failed, as_json=as_json)


@migrate.command("plan")
@click.argument("source")
@source_options
@field_options
@model_options
@click.option("--price-per-hour", type=float, metavar="MONEY", help="Of this machine.")
@click.option("--sample", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows to measure on.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Embed so long at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan(
    source: str,
    model: str | None,
    dim: int | None,
    price_per_hour: float | None,
    sample: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Read SOURCE, embed a sample, and say what all of it will cost; nothing is written."""
    from qvec import migrate as api

    settings, read = settings_of(None), chosen_source()
    found = api.plan(
        source,
        table=read.table,
        schema=read.schema,
        source_collection=read.collection,
        layout=read.layout,
        fields=chosen_fields(),
        model=model or settings.model,
        dim=dim if model or dim else settings.dim,
        price_per_hour=price_per_hour,
        sample=sample,
        seconds=seconds,
    )
    tell(asdict(found), plan_lines(found), as_json=as_json)


@migrate.command()
@click.argument("url")
@click.argument("table")
@click.option("--schema", help="Of the table.")
@field_options
@click.option("--collection", metavar="NAME", help="The name to search a table by; needed for PostgreSQL.")
@model_options
@click.option("--in-table", is_flag=True, help="Add columns to the table itself, not a companion table.")
@click.option("--triggers", is_flag=True, help="Queue the rows that change, for qvec migrate sync.")
@click.option("--version-column", "version", metavar="COLUMN", help="Without triggers, for sync: changes with its row.")
@click.option("--index", type=click.Choice(["auto", "hnsw", "flat"]), default="auto", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the statements or requests, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def attach(
    url: str,
    table: str,
    schema: str | None,
    collection: str | None,
    model: str | None,
    dim: int | None,
    in_table: bool,
    triggers: bool,
    version: str | None,
    index: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the table TABLE of the database URL searchable where it stands: PostgreSQL's, or as attach-index does.

    It stays readable and writable. Run again, it goes on where it was broken off, or embeds what has changed since.
    """
    from qvec import migrate as api
    from qvec.types import IndexSpec

    if api.Attached(url=url, collection=table).is_index:
        if collection not in (None, table) or schema or in_table or triggers or version:
            raise click.UsageError("an index is searched by its own name: give --text, --model and --dim alone")
        text = chosen_fields().text
        attach_in_place(url, table, text=text, model=model, dim=dim, dry_run=dry_run, as_json=as_json)
        return
    if collection is None:
        raise click.UsageError("name what the table is to be searched by: --collection NAME")
    settings = settings_of(None)
    kinds = {"hnsw": IndexSpec("hnsw"), "flat": IndexSpec("flat")}
    job = api.AttachJob(
        url=url,
        table=table,
        schema=schema,
        collection=collection,
        fields=chosen_fields(),
        model=model,
        dim=dim,
        default_model=settings.model,
        default_dim=settings.dim,
        in_table=in_table,
        triggers=triggers,
        version=version,
        index=kinds.get(index, IndexSpec()),
    )
    if dry_run:
        statements = api.plan_attach(job)
        tell({"dry_run": True, "statements": statements}, ended(statements), as_json=as_json)
        return
    with by_batches(as_json=as_json) as progress:
        report = api.attach(job, progress=progress)
    line = (
        f"{collection}: {report.embedded:,} rows embedded, {report.unchanged:,} unchanged, {report.removed:,} removed, "
        f"{report.failed:,} failed in {report.seconds:.1f} s"
    )
    tell(asdict(report), [line], as_json=as_json)
    tell_errors(report.errors, report.failed, as_json=as_json)


@migrate.command()
@click.argument("url")
@click.argument("collection")
@click.option("--dry-run", is_flag=True, help="Print the SQL, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def detach(url: str, collection: str, dry_run: bool, as_json: bool) -> None:
    """Undo an attach: the table is as it was before."""
    from qvec import migrate as api

    attached = api.Attached(url=url, collection=collection)
    if dry_run:
        statements = api.plan_undo(attached)
        tell({"dry_run": True, "statements": statements}, ended(statements), as_json=as_json)
        return
    api.undo(attached)
    tell({"collection": collection, "detached": True}, [f"detached {collection}"], as_json=as_json)


migrate.add_command(sync)
