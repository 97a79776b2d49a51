"""From a folder to documents, one for each chunk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence

from qvec.checks import MAX_ID_BYTES, string_fault
from qvec.code.chunk import MAX_CHARS, Chunk, chunk_file
from qvec.code.languages import language_of
from qvec.code.walk import MAX_BYTES, Skipped, SourceFile, walk
from qvec.types import Document

MAX_LINE = 20_000
_WRITTEN_IN_LINES = frozenset({"markdown", "rst", "text"})


def documents_from_path(
    root: str | os.PathLike[str],
    *,
    exclude: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    max_chars: int = MAX_CHARS,
) -> Iterator[Document | Skipped]:
    """Walk a folder, or take one file, and make a document of each chunk, lazily and in a stable order.

    The documents of one file share its path as `source`. Metadata: ``title`` (path and symbol), ``path``, ``language``,
    ``symbol``, ``kind``, ``start_line``, ``end_line``.

    Args:
        root: a folder or a file.
        exclude: further patterns to leave out, in .gitignore's language.
        max_bytes: a larger file is reported, not read.
        max_chars: longest chunk in characters.

    Raises:
        InvalidInputError: there is no such path.
        MissingDriverError: tree-sitter or pathspec is not installed.
    """
    return _documents(walk(root, exclude=exclude, max_bytes=max_bytes), max_chars)


def documents_of(chunks: Iterable[Chunk]) -> list[Document]:
    """Make the documents of one file's chunks; a chunk of blank lines alone makes none.

    An id is ``path#symbol``, which holds when the lines move, and ``path#L10-L30`` where there is no symbol; a symbol
    that occurs again is counted: ``path#symbol~2``.
    """
    seen: dict[str, int] = {}
    return [_document(chunk, seen) for chunk in chunks if chunk.text.strip()]


def _documents(files: Iterable[SourceFile | Skipped], max_chars: int) -> Iterator[Document | Skipped]:
    for file in files:
        fault = "" if isinstance(file, Skipped) else _path_fault(file.path) or _line_fault(file)
        if isinstance(file, Skipped):
            yield file
        elif fault:
            yield Skipped(os.fsencode(file.path).decode("utf-8", "replace"), fault)
        else:
            yield from documents_of(chunk_file(file.path, file.text, max_chars=max_chars))


def _path_fault(path: str) -> str:
    if string_fault(path):
        return "its path is not UTF-8"
    return f"its path has more than {MAX_ID_BYTES} bytes" if len(path.encode()) > MAX_ID_BYTES else ""


def _line_fault(file: SourceFile) -> str:
    """Say why a program is not worth cutting: no one wrote it, and no definition would fit a chunk."""
    longest = max(map(len, file.text.split("\n")))
    if longest <= MAX_LINE or language_of(file.path) in _WRITTEN_IN_LINES:
        return ""
    return f"a line of {longest:,} characters: minified, or data"


def _document(chunk: Chunk, seen: dict[str, int]) -> Document:
    place = chunk.symbol or f"L{chunk.start_line}-L{chunk.end_line}"
    seen[place] = seen.get(place, 0) + 1
    count = f"~{seen[place]}" if seen[place] > 1 else ""
    return Document(
        id=_fit(f"{chunk.path}#{place}{count}"),
        text=chunk.text,
        source=chunk.path,
        metadata={
            "title": f"{chunk.path} {chunk.symbol}".strip(),
            "path": chunk.path,
            "language": chunk.language,
            "symbol": chunk.symbol,
            "kind": chunk.kind,
            "start_line": chunk.start_line,
            "end_line": chunk.end_line,
        },
    )


def _fit(name: str) -> str:
    """Shorten an id that is over the limit, its hash keeping it apart from others."""
    raw = name.encode()
    if len(raw) <= MAX_ID_BYTES:
        return name
    mark = f"~{hashlib.sha256(raw).hexdigest()[:16]}"
    return raw[: MAX_ID_BYTES - len(mark)].decode("utf-8", "ignore") + mark
