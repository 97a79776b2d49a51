"""What the commands share: options, the choice of a collection, and JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from qvec.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])


def database_options(command: Command) -> Command:
    """Add --backend and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)
    return click.option(
        "--backend",
        metavar="NAME|URI",
        help="A backend's or profile's name, or a URI. Default: as configured, else FAISS under ./.qvec.",
    )(command)


def model_options(command: Command) -> Command:
    """Add --model and --dim."""
    command = click.option("--dim", type=click.IntRange(min=1), help="Width to cut the model's vectors to.")(command)
    return click.option("--model", help="The model's name. Default: the collection's own, else as configured.")(command)


def device_option(command: Command) -> Command:
    """Add --device."""
    return click.option(
        "--device",
        metavar="NAME[,NAME]",
        help="Where a torch model computes: cpu, cuda:1, mps, or several, cuda:0,cuda:1. Default: the best there is.",
    )(command)


def fusion_options(command: Command) -> Command:
    """Add what says how the two legs of a hybrid search are joined."""
    for option in (
        click.option("--window", type=click.IntRange(min=0), default=200, show_default=True, help=_WINDOW),
        click.option(
            "--scaling", type=click.Choice(["min-max", "z-score", "raw"]), default="min-max", show_default=True
        ),
        click.option("--rank-constant", type=click.IntRange(min=0), default=60, show_default=True, help=_CONSTANT),
        click.option("--weight", "weights", multiple=True, metavar="LEG=NUMBER", callback=_weights, help=_WEIGHT),
        click.option("--fusion", type=click.Choice(["rrf", "linear"]), help=_FUSION),
    ):
        command = option(command)
    return command


def list_options(command: Command) -> Command:
    """Add what drops, groups and spreads the hits of a list."""
    share = click.FloatRange(0, 1)
    for option in (
        click.option("--diversity", type=share, help="0..1: how much hits should differ from each other (MMR)."),
        click.option("--group-by", type=click.Choice(["source"]), help="Show each document once, as its best part."),
        click.option("--min-score", type=share, help="0..1: the least relevance."),
    ):
        command = option(command)
    return command


_WINDOW = "How deep each leg counts at most; 0 for all of it."
_CONSTANT = "Of rrf: the larger, the less the first ranks count."
_FUSION = "By rank or by score. Default: rrf; with the bundled model and no weights, raw scores."
_WEIGHT = "A leg's factor, dense=1 or lexical=0.3; once a leg. Default: by the query."


def _weights(context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, float] | None:
    weights: dict[str, float] = {}
    for each in given:
        leg, _, number = each.partition("=")
        try:
            weights[leg] = float(number)
        except ValueError as exc:
            raise click.BadParameter(f"{each!r}: takes dense=NUMBER or lexical=NUMBER", context, option) from exc
    return weights or None


def layout_option(command: Command) -> Command:
    """Add --layout."""
    return click.option(
        "--layout",
        metavar="langchain|llamaindex",
        help="Read what another program wrote, where it lies; --model names what made its vectors.",
    )(command)


def only_collection(database: Database) -> str:
    """Name the one collection that a database holds.

    Raises:
        CollectionNotFoundError: there is none.
        InvalidInputError: there are several.
    """
    from qvec.errors import CollectionNotFoundError, InvalidInputError

    names = database.collections()
    if not names:
        raise CollectionNotFoundError("the database holds no collection: make one with qvec index PATH")
    if len(names) > 1:
        raise InvalidInputError(f"the database holds several collections: choose with --collection {' | '.join(names)}")
    return names[0]


def write_json(content: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))
