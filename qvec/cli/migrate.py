"""``qvec migrate``: copy, plan, attach, detach and sync."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from qvec.cli.migrate_sync import sync
from qvec.cli.options import database_options, model_options, write_json
from qvec.cli.plan_lines import plan_lines
from qvec.cli.stopping import by_batches

if TYPE_CHECKING:
    from qvec.config import Settings
    from qvec.migrate import CopyJob, CopyProgress, FieldMap

Command = TypeVar("Command", bound=Callable[..., Any])
_SHOWN = 10


@click.group()
def migrate() -> None:
    """Search tables where they stand, and copy from store to store.

    Every command takes --json.
    """


def field_options(command: Command) -> Command:
    """Add --id, --text and --metadata."""
    command = click.option(
        "--metadata", multiple=True, metavar="COLUMN", help="Bring this column along. Repeatable; default: all others."
    )(command)
    command = click.option(
        "--text", default="text", show_default=True, metavar="COLUMN|TEMPLATE", help="As '{title}\\n{body}'."
    )(command)
    return click.option(
        "--id", "key", multiple=True, metavar="COLUMN", help="Makes the id. Repeatable; default: the primary key."
    )(command)


def source_options(command: Command) -> Command:
    """Add --table, --schema and --from-collection."""
    command = click.option("--from-collection", metavar="NAME", help="SOURCE is one of qvec's databases.")(command)
    command = click.option("--schema", help="Of the table.")(command)
    return click.option("--table", help="SOURCE is a SQLAlchemy URL: read this table.")(command)


@migrate.command()
@click.argument("source")
@source_options
@field_options
@click.option("--collection", required=True, metavar="NAME", help="Where to: made when it is not there.")
@model_options
@click.option("--layout", type=click.Choice(["langchain", "llamaindex", "pgai"]), help="SOURCE was written by it.")
@click.option("--vector", metavar="COLUMN", default="", help="Has vectors that --source-model made.")
@click.option(
    "--source-model", metavar="NAME", help="Made the vectors of SOURCE: they are carried if that proves true."
)
@click.option("--source-dim", type=click.IntRange(min=1), help="To which --source-model's vectors were cut.")
@click.option("--journal", metavar="FILE", help="The state file. Default: one under ./.qvec/migrate.")
@click.option("--restart", is_flag=True, help="Forget a run that was broken off.")
@click.option("--stop-on-error", is_flag=True, help="Stop at the first bad row; else they are listed.")
@click.option("--errors", metavar="FILE", help="Write all bad rows there, as JSON lines.")
@click.option("--undo", is_flag=True, help="Drop the collection that this copy made, and its state.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@database_options
def copy(
    source: str,
    table: str | None,
    schema: str | None,
    from_collection: str | None,
    key: tuple[str, ...],
    text: str,
    metadata: tuple[str, ...],
    collection: str,
    model: str | None,
    dim: int | None,
    layout: str | None,
    vector: str,
    source_model: str | None,
    source_dim: int | None,
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

    settings = _settings(backend)
    job = api.CopyJob(
        source=source,
        target=settings.uri.reveal(),
        collection=collection,
        table=table,
        schema=schema,
        source_collection=from_collection,
        layout=layout,
        source_model=source_model,
        source_dim=source_dim,
        fields=replace(_fields(key, text, metadata), vector=vector),
        model=model,
        dim=dim,
        default_model=settings.model,
        default_dim=settings.dim,
        journal=journal,
    )
    if dry_run:
        plan = api.plan_copy(job)
        _tell(asdict(plan), plan.steps, as_json=as_json)
    elif undo:
        dropped = api.undo_copy(job)
        line = f"dropped {collection}" if dropped else f"{collection} was there before the copy and stays"
        _tell({"collection": collection, "dropped": dropped}, [line], as_json=as_json)
    else:
        _copy(job, errors, restart=restart, stop=stop_on_error, as_json=as_json)


def _copy(job: CopyJob, errors: str | None, *, restart: bool, stop: bool, as_json: bool) -> None:
    from qvec import migrate as api

    with by_batches(Progress()) as progress:
        report = api.copy(job, restart=restart, on_error="stop" if stop else "list", progress=progress)
    if errors is not None:
        lines = (json.dumps({"place": place, "reason": reason}) + "\n" for place, reason in api.copy_errors(job))
        Path(errors).write_text("".join(lines), encoding="utf-8")
    vectors = "carried" if report.carried else "made"
    line = (
        f"{job.collection}: {report.documents:,} rows in {report.records:,} records, vectors {vectors}; "
        f"{report.failed:,} bad rows; {report.verified:,} compared; {report.seconds:.1f} s"
    )
    _tell(asdict(report), [line], as_json=as_json)
    _tell_errors(report.errors, report.failed, as_json=as_json)


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
    table: str | None,
    schema: str | None,
    from_collection: str | None,
    key: tuple[str, ...],
    text: str,
    metadata: tuple[str, ...],
    model: str | None,
    dim: int | None,
    price_per_hour: float | None,
    sample: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Read SOURCE, embed a sample, and say what all of it will cost; nothing is written."""
    from qvec import migrate as api

    settings = _settings(None)
    found = api.plan(
        source,
        table=table,
        schema=schema,
        source_collection=from_collection,
        fields=_fields(key, text, metadata),
        model=model or settings.model,
        dim=dim if model or dim else settings.dim,
        price_per_hour=price_per_hour,
        sample=sample,
        seconds=seconds,
    )
    _tell(asdict(found), plan_lines(found), as_json=as_json)


@migrate.command()
@click.argument("url")
@click.argument("table")
@click.option("--schema", help="Of the table.")
@field_options
@click.option("--collection", required=True, metavar="NAME", help="The name to search the table by.")
@model_options
@click.option("--in-table", is_flag=True, help="Add columns to the table itself, not a companion table.")
@click.option("--triggers", is_flag=True, help="Queue the rows that change, for qvec migrate sync.")
@click.option("--version-column", "version", metavar="COLUMN", help="Without triggers, for sync: changes with its row.")
@click.option("--index", type=click.Choice(["auto", "hnsw", "flat"]), default="auto", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the SQL, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def attach(
    url: str,
    table: str,
    schema: str | None,
    key: tuple[str, ...],
    text: str,
    metadata: tuple[str, ...],
    collection: str,
    model: str | None,
    dim: int | None,
    in_table: bool,
    triggers: bool,
    version: str | None,
    index: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the PostgreSQL table TABLE of the database URL searchable where it stands.

    It stays readable and writable. Run again, it goes on where it was broken off, or embeds what has changed since.
    """
    from qvec import migrate as api
    from qvec.types import IndexSpec

    settings = _settings(None)
    kinds = {"hnsw": IndexSpec("hnsw"), "flat": IndexSpec("flat")}
    job = api.AttachJob(
        url=url,
        table=table,
        schema=schema,
        collection=collection,
        fields=_fields(key, text, metadata),
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
        _tell({"dry_run": True, "statements": statements}, [f"{line};" for line in statements], as_json=as_json)
        return
    with by_batches(Progress()) as progress:
        report = api.attach(job, progress=progress)
    line = (
        f"{collection}: {report.embedded:,} rows embedded, {report.unchanged:,} unchanged, {report.removed:,} removed, "
        f"{report.failed:,} failed in {report.seconds:.1f} s"
    )
    _tell(asdict(report), [line], as_json=as_json)
    _tell_errors(report.errors, report.failed, as_json=as_json)


@migrate.command()
@click.argument("url")
@click.argument("collection")
@click.option("--dry-run", is_flag=True, help="Print the SQL, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def detach(url: str, collection: str, dry_run: bool, as_json: bool) -> None:
    """Undo an attach: the table is as it was before."""
    from qvec import migrate as api

    if dry_run:
        statements = api.plan_detach(url, collection)
        _tell({"dry_run": True, "statements": statements}, [f"{line};" for line in statements], as_json=as_json)
        return
    api.detach(url, collection)
    _tell({"collection": collection, "detached": True}, [f"detached {collection}"], as_json=as_json)


migrate.add_command(sync)


class Progress:
    """How far a migration is, with its rate and what is left, on stderr."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = self._told = clock()

    def __call__(self, progress: CopyProgress) -> None:
        """Tell, at most every few seconds."""
        now = self._clock()
        terminal = self._stream.isatty()
        if now - self._told < (0.2 if terminal else 10.0):
            return
        self._told = now
        rate = progress.read / max(now - self._started, 1e-9)
        line = f"{progress.read:,} rows  {rate:,.0f}/s"
        if progress.total:
            left = max(progress.total - progress.read, 0) / max(rate, 1e-9)
            line = f"{progress.read:,} of {progress.total:,} rows  {rate:,.0f}/s  {left:,.0f} s left"
        self._stream.write(f"\r{line}\x1b[K" if terminal else f"{line}\n")
        self._stream.flush()


def _settings(backend: str | None) -> Settings:
    from qvec.config import resolve

    return resolve(backend, env=os.environ, cwd=Path.cwd())


def _fields(key: Sequence[str], text: str, metadata: Sequence[str]) -> FieldMap:
    from qvec.migrate import FieldMap

    return FieldMap(tuple(key), text.replace("\\n", "\n"), tuple(metadata) or None)


def _tell(facts: object, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        write_json(facts)
        return
    for line in lines:
        click.echo(line)


def _tell_errors(errors: Sequence[tuple[str, str]], failed: int, *, as_json: bool) -> None:
    if as_json:
        return
    for place, reason in errors[:_SHOWN]:
        click.echo(f"failed: {place}: {reason}", err=True)
    if failed > _SHOWN:
        click.echo(f"  ... and {failed - _SHOWN:,} more; --json names them", err=True)
