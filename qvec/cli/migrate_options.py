"""What the commands of ``qvec migrate`` share: options that are kept until they are asked for, and what they tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qvec.cli.options import write_json

if TYPE_CHECKING:
    from qvec.config import Settings
    from qvec.migrate import CopyJob, FieldMap

Command = TypeVar("Command", bound=Callable[..., Any])
_SHOWN = 10
_KEPT = "qvec.cli.migrate"
_SQL = (
    "ALTER ", "ANALYZE ", "BEGIN", "COMMIT", "COPY ", "CREATE ", "DELETE FROM ", "DROP ", "INSERT ", "SELECT ", "SET ",
    "UPDATE ", "WITH ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChosenSource:
    """What --table, --schema, --from-collection and --layout say."""

    table: str | None
    schema: str | None
    collection: str | None
    layout: str | None


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    ctx.meta.setdefault(_KEPT, {})[param.name] = value


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = click.get_current_context().meta[_KEPT]
    return found


def field_options(command: Command) -> Command:
    """Add --id, --text and --metadata; `chosen_fields` gives what they say."""
    for option in (
        click.option(
            "--metadata", multiple=True, metavar="COLUMN", expose_value=False, callback=_keep, help=_METADATA
        ),
        click.option(
            "--text", default="text", show_default=True, metavar="COLUMN|TEMPLATE", expose_value=False, callback=_keep,
            help="As '{title}\\n{body}'.",
        ),
        click.option(
            "--id", "key", multiple=True, metavar="COLUMN", expose_value=False, callback=_keep, help=_KEY
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def source_options(command: Command) -> Command:
    """Add --table, --schema, --from-collection and --layout; `chosen_source` gives what they say."""
    for option in (
        click.option(
            "--layout", type=click.Choice(["langchain", "llamaindex", "pgai"]), expose_value=False, callback=_keep,
            help="SOURCE was written by it.",
        ),
        click.option(
            "--from-collection", metavar="NAME", expose_value=False, callback=_keep,
            help="SOURCE is one of qvec's databases: its collection, or in Elasticsearch and Milvus anybody's.",
        ),
        click.option("--schema", expose_value=False, callback=_keep, help="Of the table."),
        click.option(
            "--table", expose_value=False, callback=_keep, help="SOURCE is a SQLAlchemy URL: read this table."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def carry_options(command: Command) -> Command:
    """Add --vector, --source-model and --source-dim; `copy_job` heeds them."""
    for option in (
        click.option(
            "--source-dim", type=click.IntRange(min=1), expose_value=False, callback=_keep,
            help="To which --source-model's vectors were cut.",
        ),
        click.option(
            "--source-model", metavar="NAME", expose_value=False, callback=_keep,
            help="Made the vectors of SOURCE: they are carried if that proves true.",
        ),
        click.option(
            "--vector", metavar="COLUMN", default="", expose_value=False, callback=_keep,
            help="Has vectors that --source-model made.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


_METADATA = "Bring this column along. Repeatable; default: all others."
_KEY = "Makes the id. Repeatable; default: the primary key."


def chosen_fields() -> FieldMap:
    """Read which columns become what."""
    from qvec.migrate import FieldMap

    found = _kept()
    return FieldMap(tuple(found["key"]), found["text"].replace("\\n", "\n"), tuple(found["metadata"]) or None)


def chosen_source() -> ChosenSource:
    """Read what of the source is meant."""
    found = _kept()
    return ChosenSource(found["table"], found["schema"], found["from_collection"], found["layout"])


def copy_job(
    source: str, collection: str, *, model: str | None, dim: int | None, journal: str | None, backend: str | None
) -> CopyJob:
    """Make the copy that the command line describes."""
    from qvec.migrate import CopyJob

    settings, read, carried = settings_of(backend), chosen_source(), _kept()
    return CopyJob(
        source=source,
        target=settings.uri.reveal(),
        collection=collection,
        table=read.table,
        schema=read.schema,
        source_collection=read.collection,
        layout=read.layout,
        source_model=carried["source_model"],
        source_dim=carried["source_dim"],
        fields=replace(chosen_fields(), vector=carried["vector"]),
        model=model,
        dim=dim,
        default_model=settings.model,
        default_dim=settings.dim,
        journal=journal,
    )


def settings_of(backend: str | None) -> Settings:
    """Resolve the configuration."""
    from qvec.config import resolve

    return resolve(backend, env=os.environ, cwd=Path.cwd())


def tell(facts: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a result, for machines or for people."""
    if as_json:
        write_json(facts)
        return
    for line in lines:
        click.echo(line)


def ended(steps: Iterable[str]) -> list[str]:
    """End those steps that are SQL as psql wants them; the others are requests and words."""
    return [f"{step};" if step.startswith(_SQL) else step for step in steps]


def tell_errors(errors: Sequence[tuple[str, str]], failed: int, *, as_json: bool) -> None:
    """Print the first bad rows on stderr; in JSON the result has them."""
    if as_json:
        return
    for place, reason in errors[:_SHOWN]:
        click.echo(f"failed: {place}: {reason}", err=True)
    if failed > _SHOWN:
        click.echo(f"  ... and {failed - _SHOWN:,} more; --json names them", err=True)
