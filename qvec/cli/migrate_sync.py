"""``qvec migrate sync``."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qvec.cli.migrate_progress import Progress
from qvec.cli.options import write_json
from qvec.cli.stopping import stopping

if TYPE_CHECKING:
    from qvec.migrate import SyncReport

_SHOWN = 10


@click.command()
@click.argument("url")
@click.argument("collection")
@click.option("--follow", is_flag=True, help="Stay until Ctrl-C or SIGTERM, which end it after the batch.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow, look so often.",
)
@click.option("--status", "--dry-run", "status", is_flag=True, help="Only say what is queued and what has failed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for each look.")
def sync(url: str, collection: str, follow: bool, every: float, status: bool, as_json: bool) -> None:
    """Bring the vectors of rows that were written since the attach up to date; several may run at once."""
    from qvec import migrate as api
    from qvec.errors import QvecError

    if status:
        _tell(collection, api.sync_status(url, collection), as_json=as_json, is_look=True)
        return
    last: SyncReport | None = None

    def told(found: SyncReport | QvecError) -> None:
        nonlocal last
        if isinstance(found, QvecError):
            click.echo(f"qvec: {found}; tries again", err=True)
        elif as_json or found != last:
            # A look that found what the one before did is not worth a line of a daemon's log.
            _tell(collection, found, as_json=as_json)
            last = found

    with stopping() as stop:
        if follow:
            api.follow(url, collection, stop=stop, every=every, told=told)
        else:
            told(_sync(url, collection, stop, as_json=as_json))


def _sync(url: str, collection: str, stop: threading.Event, *, as_json: bool) -> SyncReport:
    from qvec import migrate as api

    total = api.sync_status(url, collection).waiting
    progress = Progress(as_json=as_json)

    def told(report: SyncReport) -> None:
        done = report.embedded + report.unchanged + report.deleted + report.failed
        progress(api.CopyProgress(done, max(total, done)))

    try:
        return api.sync(url, collection, stop=stop, progress=told)
    finally:
        progress.end()


def _tell(collection: str, report: SyncReport, *, as_json: bool, is_look: bool = False) -> None:
    if as_json:
        write_json({"collection": collection, **asdict(report)})
        return
    oldest = f", the oldest for {report.lag:.1f} s" if report.lag else ""
    done = (
        f"{report.embedded:,} embedded, {report.unchanged:,} unchanged, {report.deleted:,} deleted, "
        f"{report.failed:,} failed; "
    )
    click.echo(
        f"{collection}: {'' if is_look else done}{report.waiting:,} waiting{oldest}; "
        f"{report.later:,} to be tried again; {len(report.errors):,} without a vector"
    )
    for line in _lines(report):
        click.echo(line, err=True)


def _lines(report: SyncReport) -> Iterable[str]:
    yield from (f"failed: {key}: {reason}" for key, reason in report.errors[:_SHOWN])
    if len(report.errors) > _SHOWN:
        yield "  ... and more; --json names them"
