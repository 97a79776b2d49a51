"""Walking a tree of source files: each is read as text or reported, none is dropped in silence."""

from __future__ import annotations

import codecs
import os
import stat
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from qvec.code.ignore import Ignores, file_reason, folder_reason, ignores_above
from qvec.errors import InvalidInputError

MAX_BYTES = 1_000_000
_PYTHON = (".py", ".pyi", ".pyw")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read: its path relative to the walk's root, with POSIX separators, and its text without a BOM."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: str
    reason: str


class _Unreadable(Exception):
    """Carry the reason out of the reading of one file."""


def walk(
    root: str | os.PathLike[str], *, exclude: Sequence[str] = (), max_bytes: int = MAX_BYTES
) -> Iterator[SourceFile | Skipped]:
    """Read a folder's files one after the other, sorted by name, or a single file.

    Left out without a word: what .gitignore, ``.git/info/exclude`` and `exclude` name, and folders that tools write
    (``.git``, ``node_modules``, ``__pycache__``, ``.venv`` ...). Links are not followed. A file given as root is read
    whatever its name.

    Args:
        root: a folder or a file.
        exclude: further patterns, in .gitignore's language.
        max_bytes: a larger file is reported, not read.

    Raises:
        InvalidInputError: there is no such path, or a pattern cannot be read.
        MissingDriverError: there are patterns and pathspec is not installed.
    """
    base = Path(root)
    if not base.exists():
        raise InvalidInputError(f"{os.fspath(root)!r} does not exist")
    base = base.resolve()
    if not base.is_dir():
        return iter([_read(base, base.name, max_bytes)])
    return _walk(base, base, ignores_above(base).entered(base).excluding(base, exclude), max_bytes)


def _walk(folder: Path, base: Path, ignores: Ignores, max_bytes: int) -> Iterator[SourceFile | Skipped]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as exc:
        yield Skipped(_relative(folder, base), f"cannot be listed: {exc.strerror}")
        return
    for entry in entries:
        path = folder / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignores.covers(path, folder=is_folder):
            continue
        if not is_folder:
            yield _file(entry, path, _relative(path, base), max_bytes)
            continue
        reason = folder_reason(path)
        if reason is None:
            yield from _walk(path, base, ignores.entered(path), max_bytes)
        elif reason:
            yield Skipped(_relative(path, base), reason)


def _file(entry: os.DirEntry[str], path: Path, relative: str, max_bytes: int) -> SourceFile | Skipped:
    if entry.is_symlink():
        return Skipped(relative, "a symbolic link, which is not followed")
    reason = file_reason(entry.name)
    return Skipped(relative, reason) if reason else _read(path, relative, max_bytes)


def _read(path: Path, relative: str, max_bytes: int) -> SourceFile | Skipped:
    try:
        return SourceFile(relative, _decode(_content(path, max_bytes), relative))
    except _Unreadable as exc:
        return Skipped(relative, str(exc))


def _content(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _Unreadable("not a regular file")
        if status.st_size > max_bytes:
            raise _Unreadable(f"{status.st_size:,} bytes, over the limit of {max_bytes:,}")
        return path.read_bytes()
    except OSError as exc:
        raise _Unreadable(f"cannot be read: {exc.strerror}") from exc


def _decode(content: bytes, relative: str) -> str:
    encoding = _encoding(content, relative)
    if b"\0" in content and not encoding.startswith("utf-16"):
        raise _Unreadable("binary: it holds NUL bytes")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as exc:
        raise _Unreadable(f"not {encoding} text: {exc.reason} at byte {exc.start}") from exc
    except LookupError as exc:
        raise _Unreadable(f"declares an unknown encoding, {encoding}") from exc
    if not text.strip():
        raise _Unreadable("empty")
    if "\0" in text:
        raise _Unreadable("binary: it holds NUL characters")
    return text


def _encoding(content: bytes, relative: str) -> str:
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if relative.endswith(_PYTHON):
        try:
            return tokenize.detect_encoding(BytesIO(content).readline)[0]
        except SyntaxError as exc:
            raise _Unreadable(f"not Python that can be decoded: {exc.msg}") from exc
    return "utf-8"


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
