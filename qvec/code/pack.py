"""From marks to pieces: neither too long nor too short, and every line in exactly one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise, zip_longest
from typing import NamedTuple

from qvec.code.languages import Kind
from qvec.code.outline import Mark

_NAMED = 4
_CRUMB = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``first`` up to and without ``stop``, from 0, and what they hold."""

    first: int
    stop: int
    symbol: str
    kind: Kind


class _Part(NamedTuple):
    symbol: str
    kind: Kind
    size: int


@dataclass(slots=True)
class _Group:
    first: int
    stop: int
    size: int
    parts: list[_Part]
    heads: bool


def pack(lines: Sequence[str], marks: Sequence[Mark], *, max_chars: int) -> list[Piece]:
    """Cut the lines into pieces at the marks.

    Stretches of one symbol stay together up to `max_chars` and are else cut where the structure is shallowest; a
    stretch without marks is cut between lines; small neighbours are merged. One line is never cut.

    Args:
        lines: with their line ends.
        marks: rising rows, the first at row 0.
        max_chars: a piece's longest text, in characters, but for a single line that is longer.
    """
    offsets = [0, *accumulate(map(len, lines))]
    groups: list[_Group] = []
    runs = list(_runs(marks, len(lines)))
    for run, following in zip_longest(runs, runs[1:]):
        heads = following is not None and _encloses(run[0].symbol, following[0].symbol)
        for first, stop in _cut(run, offsets, max_chars):
            size = offsets[stop] - offsets[first]
            group = _Group(first, stop, size, [_Part(run[0].symbol, run[0].kind, size)], heads)
            if groups and _may_merge(groups[-1], group, max_chars):
                groups[-1].stop = stop
                groups[-1].size += group.size
                groups[-1].parts += group.parts
            else:
                groups.append(group)
    return [Piece(group.first, group.stop, *_label(group.parts, max_chars // _CRUMB)) for group in groups]


def _runs(marks: Sequence[Mark], stop: int) -> Iterator[list[Mark]]:
    """Group neighbours of one symbol, each run closed by a mark at its end."""
    runs = [list(run) for _, run in groupby(marks, key=lambda mark: mark.symbol)]
    for run, following in pairwise([*runs, [Mark(stop, "", "section", 0)]]):
        if following[0].row > run[0].row:
            yield [*run, following[0]]


def _cut(run: Sequence[Mark], offsets: Sequence[int], max_chars: int) -> Iterator[tuple[int, int]]:
    first, stop = run[0].row, run[-1].row
    rows = [mark.row for mark in run[1:-1]]
    while offsets[stop] - offsets[first] > max_chars:
        # A cut that would leave a crumb at the end comes earlier.
        reach = min(offsets[first] + max_chars, offsets[stop] - max_chars // 4)
        ample = bisect_left(rows, bisect_right(offsets, offsets[first] + max_chars // 3))
        fitting = bisect_right(rows, bisect_right(offsets, reach) - 1)
        if ample < fitting:
            cut = min(run[1 + ample : 1 + fitting], key=lambda mark: (mark.depth, -mark.row)).row
        else:
            following = max(fitting, bisect_right(rows, first))
            cut = _line_cut(first, rows[following] if following < len(rows) else stop, offsets, max_chars)
        if cut >= stop:
            break
        yield first, cut
        first = cut
    yield first, stop


def _line_cut(first: int, bound: int, offsets: Sequence[int], max_chars: int) -> int:
    """Cut a stretch without marks into lines, evenly, so that no crumb is left at its end."""
    total = offsets[bound] - offsets[first]
    share = total / -(-total // max_chars)
    row = first + 1
    while row < bound and offsets[row + 1] - offsets[first] <= min(share * 1.05, max_chars):
        row += 1
    return row


def _may_merge(left: _Group, right: _Group, max_chars: int) -> bool:
    """A crumb joins its neighbour; but a definition that goes on below takes in only what encloses it."""
    if right.heads and not _encloses(left.parts[0].symbol, right.parts[0].symbol):
        return False
    size = left.size + right.size
    small = min(left.size, right.size) < max_chars // _CRUMB
    return small and size <= (max_chars if len(left.parts) == 1 else max_chars // 2)


def _encloses(outer: str, symbol: str) -> bool:
    return not outer or symbol == outer or symbol.startswith((f"{outer}.", f"{outer} > "))


def _label(parts: Sequence[_Part], crumb: int) -> tuple[str, Kind]:
    """Name a piece by what it defines; a class's opening lines above a method do not count."""
    named = {part.symbol: part.kind for part in parts if part.symbol}
    if not named:
        return "", parts[0].kind
    openings = {part.symbol for part in parts if part.size < crumb and _encloses_any(part.symbol, named)}
    named = {symbol: kind for symbol, kind in named.items() if symbol not in openings}
    outer = min(named, key=len)
    if all(_encloses(outer, symbol) for symbol in named):
        return outer, named[outer]
    kinds = set(named.values())
    scope = _scope(list(named))
    kind: Kind = kinds.pop() if len(kinds) == 1 else "class" if scope else "module"
    return (", ".join(named) if len(named) <= _NAMED else scope), kind


def _encloses_any(outer: str, symbols: Iterable[str]) -> bool:
    return any(symbol != outer and _encloses(outer, symbol) for symbol in symbols)


def _scope(symbols: Sequence[str]) -> str:
    """The innermost name that encloses all symbols; empty at the top."""
    mark = " > " if " > " in symbols[0] else "."
    columns = zip(*(symbol.split(mark)[:-1] for symbol in symbols), strict=False)
    shared: list[str] = []
    for column in columns:
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return mark.join(shared)
