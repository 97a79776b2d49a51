"""Hits for people: file and line, score, and the lines that match; in colour on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from qvec.lexical import query_terms, tokens
from qvec.types import Hit, Leg

_LINES = 6
# A terminal obeys what a document may hold; these could move its cursor or rename its window.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Snippet(NamedTuple):
    """A run of a document's lines.

    Attributes:
        first: number of its first line, from 1 in the document's text.
        lines: without line ends.
        matching: numbers of the lines that share a word with the query.
    """

    first: int
    lines: list[str]
    matching: frozenset[int]


def snippet(text: str, query: str, *, lines: int = _LINES) -> Snippet:
    """Choose the run of lines that shares most words with the query; the beginning when none does."""
    wanted = set(query_terms(query))
    every = [_CONTROLS.sub("\ufffd", line.rstrip("\r")).expandtabs(4).rstrip() for line in text.split("\n")]
    while len(every) > 1 and not every[-1]:
        every.pop()
    start = next((row for row, line in enumerate(every) if line), 0)
    found = [wanted.intersection(tokens(line)) for line in every]
    best = max(
        range(start, max(len(every) - lines, start) + 1),
        key=lambda row: (len(set().union(*found[row : row + lines])), bool(found[row]) and row > start, -row),
    )
    shown = every[best : best + lines]
    return Snippet(best + 1, shown, frozenset(best + 1 + row for row in range(len(shown)) if found[best + row]))


def place(hit: Hit, found: Snippet) -> tuple[str, int]:
    """Name a hit as ``path:line`` with the first line shown, or by its id; and say how far its lines are from 1."""
    path, start = hit.metadata.get("path"), hit.metadata.get("start_line")
    if isinstance(path, str) and isinstance(start, int):
        return f"{_CONTROLS.sub('?', path)}:{start + found.first - 1}", start - 1
    return _CONTROLS.sub("?", hit.id), 0


def show_hits(hits: Sequence[Hit], query: str, *, first_rank: int = 1, explain: bool = False) -> None:
    """Print hits on stdout."""
    coloured = sys.stdout.isatty()
    for rank, hit in enumerate(hits, first_rank):
        found = snippet(hit.text, query)
        where, shift = place(hit, found)
        name = _name(hit)
        click.echo(
            f"{rank:>3}  {click.style(where, fg='cyan', bold=True)}"
            f"{'  ' + click.style(name, bold=True) if name else ''}  {click.style(_score(hit), dim=True)}"
        )
        if explain:
            click.echo(f"     {_legs(hit)}")
        if coloured:
            _show_coloured(found, str(hit.metadata.get("language") or "text"), shift)
        else:
            _show_plain(found, shift)
        click.echo()


def _show_plain(found: Snippet, shift: int) -> None:
    for number, line in enumerate(found.lines, found.first):
        mark = ">" if number in found.matching else " "
        click.echo(f"   {mark}{number + shift:>6} | {line}".rstrip())


def _show_coloured(found: Snippet, language: str, shift: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.syntax import Syntax

    code = Syntax(
        "\n".join(found.lines),
        language,
        theme="ansi_dark",
        line_numbers=True,
        start_line=found.first + shift,
        highlight_lines={number + shift for number in found.matching},
        background_color="default",
    )
    Console(soft_wrap=False).print(Padding(code, (0, 0, 0, 4)))


def _name(hit: Hit) -> str:
    symbol, title = hit.metadata.get("symbol"), hit.metadata.get("title")
    name = symbol if isinstance(symbol, str) else title if isinstance(title, str) else ""
    return _CONTROLS.sub("?", name)


def _score(hit: Hit) -> str:
    others = f", best of {hit.chunks}" if hit.chunks > 1 else ""
    return f"{hit.score:.4f}{others}"


def _legs(hit: Hit) -> str:
    return "   ".join([f"relevance {hit.relevance:.2f}", *map(_leg, hit.legs)])


def _leg(leg: Leg) -> str:
    if leg.note.startswith("not "):
        return f"{leg.name} {leg.note}"
    said = [f"weight {leg.weight:.3g}"] if leg.weight != 1 else []
    said += [leg.note] if leg.note else []
    note = f" ({', '.join(said)})" if said else ""
    return f"{leg.name} #{leg.rank}, score {leg.score:.4f}, adds {leg.contribution:.4f}{note}"
