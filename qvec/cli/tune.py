"""``qvec tune``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from qvec.cli.options import database_options, write_json

if TYPE_CHECKING:
    from qvec.tuning import Measured, Tuning


@click.command()
@click.argument("collection")
@click.option("--queries", type=click.File(encoding="utf-8"), help="Queries, one a line. Default: from documents.")
@click.option("--sample", type=click.IntRange(min=1), default=100, show_default=True, help="Documents to ask for.")
@click.option("--seed", default=0, show_default=True)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Hits a query.")
@click.option(
    "--target",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.95,
    show_default=True,
    help="Recall wanted.",
)
@click.option("--value", "values", type=click.IntRange(min=1), multiple=True, help="An ef or nprobe to try.")
@click.option("--apply", is_flag=True, help="Search with the recommended value from now on, from this folder.")
@database_options
def tune(
    collection: str,
    queries: IO[str] | None,
    sample: int,
    seed: int,
    k: int,
    target: float,
    values: tuple[int, ...],
    apply: bool,
    backend: str | None,
    as_json: bool,
) -> None:
    """Measure COLLECTION's recall@k against exact search, and its speed, at several breadths of its index.

    The breadth is HNSW's ef or IVF's nprobe. The recommendation is the least that reaches the target. The database is
    only read; --apply writes .qvec/tuned.json here.
    """
    from qvec.database import connect
    from qvec.tuning import tune as measure

    asked = None if queries is None else [line.strip() for line in queries if line.strip()]
    with connect(backend) as database:
        chosen = database.collection(collection)
        if not as_json:
            click.echo(f"{'ef':>8}  recall@{k:<3} worst   p50 ms  p95 ms")
        found = measure(
            chosen,
            queries=asked,
            k=k,
            sample=sample,
            target=target,
            values=values or None,
            seed=seed,
            progress=None if as_json else _show,
        )
    path = _applied(found, backend) if apply else None
    if as_json:
        write_json({**asdict(found), "applied": None if path is None else str(path)})
        return
    click.echo(_advice(found))
    if path is not None:
        click.echo(f"written to {path}")


def _show(row: Measured) -> None:
    name = "default" if row.ef is None else str(row.ef)
    click.echo(f"{name:>8}  {row.recall:<10.4f} {row.worst:<6.2f} {row.p50_ms:>7.2f} {row.p95_ms:>7.2f}")


def _advice(found: Tuning) -> str:
    asked = f"{found.queries:,} queries over {found.documents:,} documents"
    if found.recommended is None:
        return f"keep the default: every hit is found whatever the value ({asked})"
    if found.reached:
        return f"recommended: ef={found.recommended}, the least that reaches {found.target:g} ({asked})"
    return (
        f"recommended: ef={found.recommended}, the best of these, though {found.target:g} is not reached ({asked}); "
        "try a larger --value, or index with a larger m and ef_construction"
    )


def _applied(found: Tuning, backend: str | None) -> Path:
    from qvec.config import FOLDER_NAME, resolve
    from qvec.tuned import remember

    uri = resolve(backend, env=os.environ, cwd=Path.cwd()).uri
    row = next((row for row in found.rows if row.ef == found.recommended), None)
    why = {"recall": row.recall, "k": found.k, "queries": found.queries, "documents": found.documents} if row else {}
    return remember(Path.cwd() / FOLDER_NAME, uri, found.collection, ef=found.recommended, why=why)
