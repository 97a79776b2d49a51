"""``qvec search``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qvec.cli.options import (
    database_options,
    device_option,
    fusion_options,
    layout_option,
    list_options,
    model_options,
    only_collection,
    write_json,
)

if TYPE_CHECKING:
    from qvec.fusion import Fusion, Scaling
    from qvec.retrieval import Group, Mode
    from qvec.types import Hit, LegName


@click.command()
@click.argument("query")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Hits wanted.")
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), default="hybrid", show_default=True)
@click.option("--where", metavar="FILTER", help="""A filter on metadata: "language = 'python' and start_line < 100".""")
@click.option("--instruction", help="The model's task: a preset's name (code_search) or an English sentence.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Hits to skip.")
@click.option("--cursor", default="", help="Where the page before ended, as it said; instead of --offset.")
@click.option("--collection", metavar="NAME", help="Default: the only one there is.")
@click.option("--rerank", metavar="MODEL", help="Order the first hits anew by a reranker: Qwen/Qwen3-Reranker-0.6B.")
@click.option("--rerank-depth", type=click.IntRange(min=1), default=50, show_default=True, help="Hits it scores.")
@click.option("--rerank-tokens", type=click.IntRange(min=1), help="Tokens it reads at most.")
@click.option("--rerank-seconds", type=click.FloatRange(min=0, min_open=True), help="Time it takes at most.")
@click.option("--explain", is_flag=True, help="Show each leg's rank, score and what it adds.")
@click.option(
    "--translate/--no-translate",
    default=None,
    help="Whether keywords are English words too where the query is Chinese. Default: in hybrid mode.",
)
@list_options
@fusion_options
@layout_option
@device_option
@model_options
@database_options
def search(
    query: str,
    k: int,
    mode: Mode,
    where: str | None,
    instruction: str | None,
    offset: int,
    cursor: str,
    collection: str | None,
    rerank: str | None,
    rerank_depth: int,
    rerank_tokens: int | None,
    rerank_seconds: float | None,
    explain: bool,
    min_score: float | None,
    group_by: Group | None,
    diversity: float | None,
    translate: bool | None,
    fusion: Fusion | None,
    weights: dict[LegName, float] | None,
    rank_constant: int,
    scaling: Scaling,
    window: int,
    layout: str | None,
    model: str | None,
    dim: int | None,
    device: str | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Find what answers QUERY, in any language that the model knows, best first."""
    from qvec.database import connect

    with connect(backend, model=model, dim=dim, device=device, layout=layout) as database:
        name = collection or only_collection(database)
        hits = database.collection(name, model=model, dim=dim).search(
            query,
            k=k,
            mode=mode,
            where=where,
            instruction=instruction,
            offset=offset,
            cursor=cursor,
            fusion=fusion,
            weights=weights,
            rank_constant=rank_constant,
            scaling=scaling,
            window=window or None,
            min_score=min_score,
            group_by=group_by,
            diversity=diversity,
            translate=translate,
            explain=explain,
            rerank=rerank,
            rerank_depth=rerank_depth,
            rerank_tokens=rerank_tokens,
            rerank_seconds=rerank_seconds,
        )
    if as_json:
        found = {"query": query, "collection": name, "mode": mode, "offset": hits.offset, "cursor": hits.cursor}
        found["keywords"] = hits.keywords
        write_json({**found, "hits": [_plain(hit) for hit in hits]})
        return
    if not hits:
        click.echo(f"no hits in {name}", err=True)
        return
    from qvec.cli.render import show_hits

    if explain and hits.keywords:
        click.echo(f"keywords: {hits.keywords}")
    show_hits(hits, hits.keywords or query, first_rank=hits.offset + 1, explain=explain)
    if cursor and hits.cursor:
        click.echo(f"next page: --cursor {hits.cursor}", err=True)


def _plain(hit: Hit) -> dict[str, object]:
    document = hit.document
    return {
        "id": hit.id,
        "score": hit.score,
        "relevance": hit.relevance,
        "chunks": hit.chunks,
        "source": document.source,
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "legs": [asdict(leg) for leg in hit.legs],
    }
