"""Where a text may be cut, and what each stretch of it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from qvec.code.languages import Kind

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\r?\n?$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*\r?\n?$")
_UNDERLINE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")


class Mark(NamedTuple):
    """A row at which a new stretch begins; it lasts to the next mark.

    Attributes:
        row: from 0.
        symbol: qualified name of what the stretch belongs to; empty at the top.
        kind: what the stretch is.
        depth: how deep in the text's structure; a cut at a lower depth is better.
    """

    row: int
    symbol: str
    kind: Kind
    depth: int


def outline_text(lines: Sequence[str]) -> list[Mark]:
    """Mark the paragraphs."""
    return [Mark(0, "", "section", 0), *_paragraphs(lines, range(1, len(lines)), "", 0)]


def outline_markdown(lines: Sequence[str]) -> list[Mark]:
    """Mark headings and, below them, paragraphs; nothing inside a code fence is a heading."""
    marks = [Mark(0, "", "section", 0)]
    trail: list[tuple[int, str]] = []
    fence = ""
    for row, line in enumerate(lines):
        opening = _FENCE.match(line)
        if fence:
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        heading = _heading(lines, row)
        if heading:
            level, title = heading
            trail = [item for item in trail if item[0] < level] + [(level, title)]
            _add(marks, Mark(row, _path(trail), "section", level))
        elif _begins_paragraph(lines, row):
            _add(marks, Mark(row, _path(trail), "section", 8))
        if opening:
            fence = opening[1]
    return marks


def outline_rst(lines: Sequence[str]) -> list[Mark]:
    """Mark underlined titles, levelled in the order in which their underlines first occur, and paragraphs."""
    marks = [Mark(0, "", "section", 0)]
    trail: list[tuple[int, str]] = []
    levels: dict[str, int] = {}
    for row, line in enumerate(lines):
        if _begins_paragraph(lines, row) and not _underlined(lines, row):
            _add(marks, Mark(row, _path(trail), "section", 8))
        if not _underlined(lines, row):
            continue
        level = levels.setdefault(lines[row + 1][0], len(levels) + 1)
        trail = [item for item in trail if item[0] < level] + [(level, line.strip())]
        overlined = row > 0 and lines[row - 1].strip() == lines[row + 1].strip()
        _add(marks, Mark(row - overlined, _path(trail), "section", level))
    return marks


def _add(marks: list[Mark], mark: Mark) -> None:
    """Append a mark; a later one on the same row is the better informed."""
    if marks and marks[-1].row >= mark.row:
        marks[-1] = mark._replace(row=marks[-1].row)
    else:
        marks.append(mark)


def _heading(lines: Sequence[str], row: int) -> tuple[int, str] | None:
    line = lines[row]
    atx = _ATX.match(line)
    if atx:
        return len(atx[1]), (atx[2] or "").strip()
    if row + 1 < len(lines) and line.strip() and not line.startswith(("    ", "\t", ">", "-", "*", "|")):
        setext = _SETEXT.match(lines[row + 1])
        if setext and (row == 0 or not lines[row - 1].strip()):
            return (1 if setext[1][0] == "=" else 2), line.strip()
    return None


def _underlined(lines: Sequence[str], row: int) -> bool:
    line = lines[row].rstrip()
    if not line or line[0].isspace() or row + 1 >= len(lines) or _UNDERLINE.match(line):
        return False
    under = _UNDERLINE.match(lines[row + 1])
    return under is not None and len(lines[row + 1].rstrip()) >= len(line)


def _paragraphs(lines: Sequence[str], rows: range, symbol: str, depth: int) -> list[Mark]:
    return [Mark(row, symbol, "section", depth) for row in rows if _begins_paragraph(lines, row)]


def _begins_paragraph(lines: Sequence[str], row: int) -> bool:
    return row > 0 and bool(lines[row].strip()) and not lines[row - 1].strip()


def _path(trail: Sequence[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in trail if title)
