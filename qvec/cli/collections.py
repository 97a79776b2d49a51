"""``qvec collections`` and ``qvec describe``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qvec.cli.options import database_options, layout_option, write_json

if TYPE_CHECKING:
    from qvec.database import Database


@click.command()
@layout_option
@database_options
def collections(layout: str | None, backend: str | None, as_json: bool) -> None:
    """List the collections of a database, with their size and model."""
    from qvec.database import connect

    with connect(backend, layout=layout) as database:
        found = [_facts(database, name) for name in database.collections()]
    if as_json:
        write_json({"collections": found})
        return
    if not found:
        click.echo("no collections", err=True)
    width = max((len(str(facts["name"])) for facts in found), default=0)
    for facts in found:
        click.echo(f"{facts['name']!s:<{width}}  {facts['count']:>9,}  {facts['model']}, {facts['dim']} dimensions")


@click.command()
@click.argument("name")
@layout_option
@database_options
def describe(name: str, layout: str | None, backend: str | None, as_json: bool) -> None:
    """Show the shape, size and model of the collection NAME, as the database reports them."""
    from qvec.database import connect

    with connect(backend, layout=layout) as database:
        spec = database.describe(name)
        count = database.collection(name).count()
        product = database.adapter.capabilities.database
    facts = {"database": product, "count": count, **asdict(spec), "metric": spec.metric.value}
    if as_json:
        write_json(facts)
        return
    passport = facts.pop("passport") or {}
    index = facts.pop("index")
    analyzer = facts.pop("analyzer") or "none: qvec's own tokens"
    for key, value in {**facts, "index": index["kind"], "analyzer": analyzer, **passport}.items():
        click.echo(f"{key.replace('_', ' '):<16} {value}")


def _facts(database: Database, name: str) -> dict[str, object]:
    spec = database.describe(name)
    return {
        "name": name,
        "count": database.collection(name).count(),
        "dim": spec.dim,
        "metric": spec.metric.value,
        "model": spec.passport.model_id if spec.passport else None,
    }
