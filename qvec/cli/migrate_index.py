"""``qvec migrate attach-index``: a vector field for an index or a collection of another program."""

from __future__ import annotations

from dataclasses import asdict

import click

from qvec.cli.migrate_options import settings_of, tell, tell_errors
from qvec.cli.migrate_progress import by_batches
from qvec.cli.options import model_options


@click.command("attach-index")
@click.argument("url")
@click.argument("index")
@click.option("--text", default="text", show_default=True, metavar="FIELD", help="To embed; with dots in an object.")
@model_options
@click.option("--dry-run", is_flag=True, help="Print the requests, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def attach_index(
    url: str, index: str, text: str, model: str | None, dim: int | None, dry_run: bool, as_json: bool
) -> None:
    """Make the Elasticsearch index or Milvus collection INDEX of the database URL searchable where it stands.

    It is read and written all the while; who edits a document meanwhile wins, and it is taken again. Run again, it goes
    on where it was broken off, or embeds what has changed since.
    """
    attach_in_place(url, index, text=text, model=model, dim=dim, dry_run=dry_run, as_json=as_json)


def attach_in_place(
    url: str, index: str, *, text: str, model: str | None, dim: int | None, dry_run: bool, as_json: bool
) -> None:
    """Attach an index of another program, and tell about it."""
    from qvec import migrate as api

    settings = settings_of(None)
    job = api.IndexJob(
        url=url,
        index=index,
        text=text,
        model=model,
        dim=dim,
        default_model=settings.model,
        default_dim=settings.dim,
    )
    if dry_run:
        steps = api.plan_attach_index(job)
        tell({"dry_run": True, "steps": steps}, steps, as_json=as_json)
        return
    with by_batches(as_json=as_json) as progress:
        report = api.attach_index(job, progress=progress)
    layout = api.layout_of(url, index)
    line = (
        f"{index}: {report.embedded:,} documents embedded, {report.unchanged:,} unchanged, {report.failed:,} failed in "
        f"{report.seconds:.1f} s; the vectors are in {layout.vector}"
    )
    tell({**asdict(report), "layout": asdict(layout)}, [line], as_json=as_json)
    tell_errors(report.errors, report.failed, as_json=as_json)
