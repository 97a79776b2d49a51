"""What the commands share: options, the choice of a collection, and JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
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
