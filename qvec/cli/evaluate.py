"""``qvec eval``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvec.cli.options import write_json

if TYPE_CHECKING:
    from qvec.evaluation.grid import Row
    from qvec.evaluation.sets import JudgedSet
    from qvec.retrieval import Mode

_MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")


@click.command("eval")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", help="Which qrels, or which queries. Default: BEIR's test, else all.")
@click.option("--backend", "backends", metavar="NAME|URI", multiple=True, help="Databases. Default: memory, exact.")
@click.option("--model", "models", multiple=True, help="Models. Default: as configured, else the bundled one.")
@click.option("--dim", "dims", type=click.IntRange(min=1), multiple=True, help="Widths to cut the vectors to.")
@click.option("--mode", "modes", type=click.Choice(_MODES), multiple=True, help="Default: all three.")
@click.option("-k", "ks", type=click.IntRange(min=1), multiple=True, default=(10,), show_default=True, help="Depths.")
@click.option("--collection", metavar="NAME", help="Ask this collection, which holds the documents, and write nothing.")
@click.option("--instruction", help="The model's task: a preset's name (code_search) or an English sentence.")
@click.option("--rerank", metavar="MODEL", help="Order the hits anew by a reranker.")
@click.option("--queries", type=click.IntRange(min=1), help="Ask so many queries only, chosen by --seed.")
@click.option("--seed", default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw ndcg into a .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def evaluate(
    folder: Path,
    split: str | None,
    backends: tuple[str, ...],
    models: tuple[str, ...],
    dims: tuple[int, ...],
    modes: tuple[Mode, ...],
    ks: tuple[int, ...],
    collection: str | None,
    instruction: str | None,
    rerank: str | None,
    queries: int | None,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure recall, ndcg and mrr on the judged queries in FOLDER: which dim is enough, what does hybrid add.

    FOLDER has corpus.jsonl, queries.jsonl and qrels/test.tsv as BEIR has them, or qrels.jsonl. The corpus is indexed
    in each database under a name of its own, which is dropped in the end. --backend, --model, --dim, --mode and -k may
    be given several times.
    """
    from qvec.evaluation.conclusions import conclusions
    from qvec.evaluation.grid import evaluate as over_grid
    from qvec.evaluation.plot import check_picture, draw
    from qvec.evaluation.sets import read_set

    if collection is not None and len(backends) > 1:
        raise click.UsageError("--collection asks one database: give --backend once")
    if plot is not None:
        check_picture(plot)
    judged = read_set(folder, split=split)
    if queries is not None:
        judged = judged.sample(queries, seed=seed)
    if collection is None:
        found = over_grid(
            judged,
            backends=backends or ("memory",),
            models=models or (None,),
            dims=dims or (None,),
            modes=modes or _MODES,
            ks=ks,
            instruction=instruction,
            rerank=rerank,
        )
    else:
        found = _existing(judged, collection, backends, models, dims, modes or _MODES, ks, instruction, rerank)
    rows = _told(found, ks, as_json=as_json)
    metric = f"ndcg@{max(ks)}"
    if plot is not None:
        draw(rows, metric, plot)
    told = conclusions(rows, metric)
    if as_json:
        form = {"set": judged.name, "queries": len(judged.queries), "rows": [asdict(row) for row in rows]}
        write_json({**form, "conclusions": told})
    else:
        click.echo("\n".join(["", *told]))


def _existing(
    judged: JudgedSet,
    name: str,
    backends: Sequence[str],
    models: Sequence[str],
    dims: Sequence[int],
    modes: Sequence[Mode],
    ks: Sequence[int],
    instruction: str | None,
    rerank: str | None,
) -> Iterator[Row]:
    from qvec.database import connect
    from qvec.evaluation.grid import evaluate_collection

    if len(models) > 1 or len(dims) > 1:
        raise click.UsageError("--collection has one model and one dim")
    backend = backends[0] if backends else None
    with connect(backend) as database:
        chosen = database.collection(name, model=models[0] if models else None, dim=dims[0] if dims else None)
        yield from evaluate_collection(
            chosen, judged, backend=backend or "", modes=modes, ks=ks, instruction=instruction, rerank=rerank
        )


def _told(found: Iterator[Row], ks: Sequence[int], *, as_json: bool) -> list[Row]:
    """Print each row once it is there, so that a long run can be watched."""
    rows: list[Row] = []
    metrics = [f"{name}@{k}" for k in ks for name in ("recall", "ndcg", "mrr")]
    for row in found:
        if not rows and not as_json:
            click.echo(f"{row.set}: {row.queries:,} queries, {row.documents:,} documents")
            click.echo("  ".join(["mode   ", *metrics, "p50 ms", "backend, model, dim"]))
        rows.append(row)
        if not as_json:
            figures = [f"{row.figures[metric]:>{len(metric)}.4f}" for metric in metrics]
            place = ", ".join(filter(None, [row.backend, row.model, str(row.dim)]))
            click.echo("  ".join([f"{row.mode:<7}", *figures, f"{row.p50_ms:>6.1f}", place]))
    return rows
