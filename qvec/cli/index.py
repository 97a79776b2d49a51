"""``qvec index``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvec.cli.options import database_options, device_option, model_options, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qvec.cli.sources import Source
    from qvec.code import Skipped
    from qvec.long_text import LongDocument, LongText
    from qvec.pipeline import IndexReport

_SHOWN = 10


@click.command()
@click.argument("path")
@click.option("--collection", metavar="NAME", help="Default: made of the folder's name.")
@device_option
@model_options
@click.option(
    "--analyzer",
    metavar="NAME",
    help="Keywords of a new collection by the database's own analyzer, as english. Default: qvec's tokens.",
)
@click.option("--prune/--no-prune", default=False, help="Delete the documents that PATH does not hold (any more).")
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out, as a line of .gitignore would. Repeatable."
)
@click.option("--cache/--no-cache", default=None, help="Keep vectors, to embed no text twice. Default: as configured.")
@click.option(
    "--long-text",
    type=click.Choice(["chunk", "truncate", "pool", "error"]),
    help="What becomes of documents over the model's window. Default: the collection's own, else as configured.",
)
@click.option("--dry-run", is_flag=True, help="Read and cut, but open no database and load no model.")
@click.option("-v", "--verbose", is_flag=True, help="Name every file that was skipped, every long document.")
@database_options
def index(
    path: str,
    collection: str | None,
    model: str | None,
    dim: int | None,
    analyzer: str | None,
    device: str | None,
    prune: bool,
    exclude: tuple[str, ...],
    cache: bool | None,
    long_text: LongText | None,
    dry_run: bool,
    verbose: bool,
    backend: str | None,
    as_json: bool,
) -> None:
    """Bring a collection up to date with PATH.

    PATH is a folder of code, Markdown and text, one file, or documents as JSON lines (a .jsonl file, or - for stdin).

    Only what changed is embedded and written. .gitignore is respected; binary, huge and unreadable files are reported.
    """
    from qvec.checks import check_name
    from qvec.cli.progress import Progress
    from qvec.cli.sources import collection_name, open_source
    from qvec.code import CHUNKER
    from qvec.database import connect

    if path == "-" and collection is None:
        raise click.UsageError("documents from stdin need --collection NAME")
    name = check_name(collection) if collection is not None else collection_name(Path(path))
    source = open_source(path, sys.stdin.buffer, exclude=exclude)
    if dry_run:
        _rehearse(source, name, as_json=as_json, verbose=verbose)
        return
    with connect(backend, model=model, dim=dim, device=device, cache=cache) as database, Progress() as progress:
        chosen = database.collection(name, model=model, dim=dim, chunker=CHUNKER, analyzer=analyzer)
        report = chosen.index(source, prune=prune, long_text=long_text, progress=progress)
    if as_json:
        skipped = [asdict(item) for item in source.skipped]
        write_json({"collection": name, **asdict(report), "hit_rate": report.hit_rate, "skipped": skipped})
        return
    _tell(name, report)
    _tell_skipped(source.skipped, everything=verbose)
    _tell_long(report.long, everything=verbose)
    _tell_failed(report)


def _tell(name: str, report: IndexReport) -> None:
    cached = f"; {report.cached:,} of {report.embedded:,} vectors ({report.hit_rate:.0%}) from the cache"
    click.echo(
        f"{name}: {report.added:,} added, {report.updated:,} updated, {report.unchanged:,} unchanged, "
        f"{report.deleted:,} deleted, {len(report.failed):,} failed "
        f"in {report.seconds:.1f} s" + (cached if report.cached else "")
    )


def _rehearse(source: Source, name: str, *, as_json: bool, verbose: bool) -> None:
    from qvec.documents import to_document
    from qvec.errors import InvalidInputError

    languages: Counter[str] = Counter()
    failed: dict[str, str] = {}
    for number, item in enumerate(source):
        try:
            document = to_document(item)
        except InvalidInputError as exc:
            failed[f"docs[{number}]"] = str(exc)
        else:
            languages[str(document.metadata.get("language") or "other")] += 1
    found = {"collection": name, "dry_run": True, "documents": languages.total(), "languages": dict(languages)}
    if as_json:
        write_json({**found, "failed": failed, "skipped": [asdict(item) for item in source.skipped]})
        return
    kinds = ", ".join(f"{count:,} {language}" for language, count in languages.most_common())
    click.echo(
        f"{name}: {languages.total():,} documents ({kinds or 'none'}), {len(failed):,} failed; nothing was written"
    )
    _tell_skipped(source.skipped, everything=verbose)


def _tell_skipped(skipped: Sequence[Skipped], *, everything: bool) -> None:
    shown = skipped if everything else skipped[:_SHOWN]
    if skipped:
        click.echo(f"{len(skipped):,} skipped:", err=True)
    for item in shown:
        click.echo(f"  {item.path}: {item.reason}", err=True)
    if len(shown) < len(skipped):
        click.echo(f"  ... and {len(skipped) - len(shown):,} more; --verbose names them", err=True)


def _tell_long(long: Mapping[str, LongDocument], *, everything: bool) -> None:
    if long:
        click.echo(f"{len(long):,} longer than one record or the model's window:", err=True)
    for identity, found in list(long.items())[: None if everything else _SHOWN]:
        done = {
            "chunk": f"cut into {found.pieces:,} parts",
            "truncate": f"embedded as far as token {found.kept:,}, stored whole",
            "pool": f"embedded as the mean of {found.pieces:,} pieces, stored whole",
        }[found.policy]
        click.echo(f"  {identity}: {found.tokens:,} tokens, window {found.limit:,}: {done}", err=True)
    if not everything and len(long) > _SHOWN:
        click.echo(f"  ... and {len(long) - _SHOWN:,} more; --verbose names them", err=True)


def _tell_failed(report: IndexReport) -> None:
    for identity, reason in list(report.failed.items())[:_SHOWN]:
        click.echo(f"failed: {identity}: {reason}", err=True)
    if len(report.failed) > _SHOWN:
        click.echo(f"  ... and {len(report.failed) - _SHOWN:,} more; --json names them", err=True)
