"""``qvec migrate swap``: another model or dim for a live collection."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import click

from qvec.cli.migrate_options import ended, tell
from qvec.cli.migrate_progress import by_batches
from qvec.cli.options import model_options

if TYPE_CHECKING:
    from qvec.migrate import SwapJob, SwapReport
    from qvec.migrate.swapping import Way


@click.command()
@click.argument("url")
@click.argument("collection")
@model_options
@click.option("--least-recall", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Of the new index.")
@click.option("--journal", metavar="FILE", help="The state file. Default: one under ./.qvec/migrate.")
@click.option("--no-switch", "way", flag_value="fill", help="Stop before the new vectors take the old ones' place.")
@click.option("--rollback", "way", flag_value="back", help="Give the collection its old vectors back.")
@click.option("--end", "way", flag_value="end", help="Drop the other vectors: there is no way back then.")
@click.option("--dry-run", is_flag=True, help="Print the statements, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def swap(
    url: str,
    collection: str,
    model: str | None,
    dim: int | None,
    least_recall: float,
    journal: str | None,
    way: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give COLLECTION of the database URL the vectors of another model, while it is read and written.

    The new vectors are filled in beside the old; then the two trade places in one step. Broken off, run it again. The
    old vectors stay until --end.
    """
    from qvec import migrate as api

    job = api.SwapJob(url=url, collection=collection, model=model, dim=dim, least_recall=least_recall, journal=journal)
    chosen = cast("Way", way or "switch")
    if dry_run:
        steps = api.plan_swap(job, way=chosen)
        tell({"dry_run": True, "steps": steps}, ended(steps), as_json=as_json)
        return
    if chosen == "end":
        api.end_swap(job)
        tell({"collection": collection, "ended": True}, [f"{collection}: dropped the other vectors"], as_json=as_json)
        return
    with by_batches(as_json=as_json) as progress:
        if chosen == "back":
            report = api.roll_back(job, progress=progress)
        else:
            report = api.swap(job, switch=chosen == "switch", progress=progress)
    tell(asdict(report), [_line(job, report, way=chosen)], as_json=as_json)


def _line(job: SwapJob, report: SwapReport, *, way: Way) -> str:
    recall = "" if report.recall is None else f", recall {report.recall:.1%}"
    waiting = "; the new vectors wait beside the old" if way == "fill" and not report.is_switched else ""
    return (
        f"{job.collection}: {report.records:,} records with {report.model}, {report.dim} dimensions; "
        f"{report.followed:,} brought over{recall}; {report.seconds:.1f} s{waiting}"
    )
