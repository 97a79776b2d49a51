"""What ``qvec index`` reads: a tree, a file, JSON lines, and the name that a collection takes from them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from qvec.checks import check_name
from qvec.code import Skipped, documents_from_path
from qvec.documents import DocumentLike
from qvec.errors import InvalidInputError

_JSON_LINES = (".jsonl", ".ndjson")
_MAX_NAME = 48


class Source:
    """A stream of documents that remembers what it left out.

    Attributes:
        skipped: what was not read, and why; complete once the stream is consumed.
    """

    def __init__(self, items: Iterable[DocumentLike | Skipped]) -> None:
        self._items = items
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[DocumentLike]:
        for item in self._items:
            if isinstance(item, Skipped):
                self.skipped.append(item)
            else:
                yield item


def open_source(path: str, stdin: BinaryIO, *, exclude: Sequence[str] = ()) -> Source:
    """Read a tree of code and text, one file, a file of JSON lines, or JSON lines from `stdin` when `path` is ``-``.

    Raises:
        InvalidInputError: there is no such path, or, once the source is read, it cannot be opened.
        MissingDriverError: code cannot be cut, because tree-sitter is not installed.
    """
    if path == "-":
        return Source(json_lines(stdin, "stdin"))
    place = Path(path)
    if place.is_file() and place.suffix.lower() in _JSON_LINES:
        return Source(_lines_of(place))
    return Source(documents_from_path(place, exclude=exclude))


def json_lines(lines: Iterable[bytes], name: str) -> Iterator[DocumentLike | Skipped]:
    """Read one document a line: an object with ``text`` and, as wanted, ``id`` and ``metadata``, or a string."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as exc:
            yield Skipped(f"{name}:{number}", f"not JSON: {exc}")
            continue
        if isinstance(item, str | Mapping):
            yield item
        else:
            yield Skipped(f"{name}:{number}", f"neither an object nor a string but {type(item).__name__}")


def collection_name(path: Path) -> str:
    """Make a collection's name of a folder's or file's name."""
    resolved = path.resolve()
    name = resolved.stem if resolved.is_file() else resolved.name
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if plain[:1].isdigit():
        plain = f"_{plain}"
    if not plain or (not name.isascii()):
        plain = f"{plain[:38] or 'docs'}_{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return check_name(plain[:_MAX_NAME])


def _lines_of(path: Path) -> Iterator[DocumentLike | Skipped]:
    try:
        with path.open("rb") as file:
            yield from json_lines(file, path.name)
    except OSError as exc:
        raise InvalidInputError(f"{path} cannot be read: {exc.strerror}") from exc
