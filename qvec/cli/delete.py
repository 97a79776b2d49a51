"""``qvec delete``."""

from __future__ import annotations

import sys

import click

from qvec.cli.options import database_options, write_json


@click.command()
@click.argument("collection")
@click.argument("ids", nargs=-1)
@click.option("--where", metavar="FILTER", help="Delete the documents that a filter on metadata matches.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@database_options
def delete(
    collection: str,
    ids: tuple[str, ...],
    where: str | None,
    yes: bool,
    dry_run: bool,
    backend: str | None,
    as_json: bool,
) -> None:
    """Delete documents of COLLECTION by id, by source (a file's path) or by --where; without these, all of it."""
    from qvec.database import connect

    if ids and where is not None:
        raise click.UsageError("give ids or --where, not both")
    whole = not ids and where is None
    with connect(backend) as database:
        database.describe(collection)
        chosen = database.collection(collection)
        count = len(chosen.get(ids)) if ids else chosen.count(where)
        subject = (
            f"the collection {collection} with {count:,} records" if whole else f"{count:,} records of {collection}"
        )
        if not dry_run:
            _confirm(subject, yes=yes)
            if whole:
                database.drop(collection)
            else:
                count = chosen.delete(ids or None, where=where)
                subject = f"{count:,} records of {collection}"
    if as_json:
        write_json({"collection": collection, "dropped": whole and not dry_run, "deleted": count, "dry_run": dry_run})
    else:
        click.echo(f"would delete {subject}" if dry_run else f"deleted {subject}")


def _confirm(subject: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"to delete {subject} without being asked, add --yes")
    click.confirm(f"delete {subject}?", abort=True, err=True)
