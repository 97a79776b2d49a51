"""``qvec search``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qvec.cli.options import database_options, layout_option, model_options, only_collection, write_json

if TYPE_CHECKING:
    from qvec.types import Hit


@click.command()
@click.argument("query")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Hits wanted.")
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), default="hybrid", show_default=True)
@click.option("--where", metavar="FILTER", help="""A filter on metadata: "language = 'python' and start_line < 100".""")
@click.option("--instruction", help="The model's task: a preset's name (code_search) or an English sentence.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Hits to skip.")
@click.option("--collection", metavar="NAME", help="Default: the only one there is.")
@click.option("--explain", is_flag=True, help="Show each leg's rank and score.")
@layout_option
@model_options
@database_options
def search(
    query: str,
    k: int,
    mode: str,
    where: str | None,
    instruction: str | None,
    offset: int,
    collection: str | None,
    explain: bool,
    layout: str | None,
    model: str | None,
    dim: int | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Find what answers QUERY, in any language that the model knows, best first."""
    from qvec.database import connect

    with connect(backend, model=model, dim=dim, layout=layout) as database:
        name = collection or only_collection(database)
        hits = database.collection(name, model=model, dim=dim).search(
            query,
            k=k,
            mode=mode,  # type: ignore[arg-type]
            where=where,
            instruction=instruction,
            offset=offset,
        )
    if as_json:
        write_json({"query": query, "collection": name, "mode": mode, "hits": [_plain(hit) for hit in hits]})
        return
    if not hits:
        click.echo(f"no hits in {name}", err=True)
        return
    from qvec.cli.render import show_hits

    show_hits(hits, query, first_rank=offset + 1, explain=explain)


def _plain(hit: Hit) -> dict[str, object]:
    document = hit.document
    return {
        "id": hit.id,
        "score": hit.score,
        "source": document.source,
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "legs": [asdict(leg) for leg in hit.legs],
    }
