"""Cutting a file into chunks along its structure; every line is in exactly one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qvec.code.languages import DATA, PROSE, Kind, language_of
from qvec.code.outline import Mark, outline_markdown, outline_rst, outline_text
from qvec.code.pack import pack
from qvec.code.syntax import outline_syntax
from qvec.errors import InvalidInputError

CHUNKER = "tree-sitter-1"
"""Name and version of the rules by which files are cut; a change of the rules changes it."""
MAX_CHARS = 1500

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole lines of one file.

    Attributes:
        path: as given.
        text: the exact lines, line ends included.
        language: name of the grammar; ``"text"``, ``"markdown"``; empty when unknown.
        symbol: qualified name of what the lines define (``DictReader.fieldnames``), several after a merge of small
            ones, a Markdown heading's path; empty for what stands at the top of a file.
        kind: ``"function"`` (methods too), ``"class"``, ``"module"`` for code outside of these, ``"section"`` of text.
        start_line: from 1.
        end_line: inclusive.
    """

    path: str
    text: str
    language: str
    symbol: str
    kind: Kind
    start_line: int
    end_line: int


def chunk_file(path: str, text: str, *, max_chars: int = MAX_CHARS) -> list[Chunk]:
    """Cut one file: code by definitions, Markdown by headings, other text by paragraphs and lines.

    Args:
        path: decides on the language, together with a ``#!`` line.
        text: the decoded file.
        max_chars: longest chunk in characters; only a single longer line exceeds it.

    Returns:
        The chunks in the file's order; their texts put together are `text`.

    Raises:
        MissingDriverError: the file is code and tree-sitter is not installed.
        InvalidInputError: `max_chars` is below 1.
    """
    if max_chars < 1:
        raise InvalidInputError(f"max_chars={max_chars}: starts at 1")
    lines = _LINE.findall(text)
    if not lines:
        return []
    language = language_of(path, text[:200])
    pieces = pack(lines, _outline(lines, language, max_chars), max_chars=max_chars)
    return [
        Chunk(
            path=path,
            text="".join(lines[piece.first : piece.stop]),
            language=language,
            symbol=piece.symbol,
            kind="section" if language in DATA else piece.kind,
            start_line=piece.first + 1,
            end_line=piece.stop,
        )
        for piece in pieces
    ]


def _outline(lines: list[str], language: str, max_chars: int) -> list[Mark]:
    if language == "markdown":
        return outline_markdown(lines)
    if language == "rst":
        return outline_rst(lines)
    if language in PROSE:
        return outline_text(lines)
    return outline_syntax(lines, language, max_chars=max_chars)
