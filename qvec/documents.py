"""What users hand over, made into records: coercion, content digests, and splitting what is too long."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import TypeAlias, cast

from qvec.checks import document_fault
from qvec.errors import InvalidInputError
from qvec.filters import normalise
from qvec.types import Document, Value

DocumentLike: TypeAlias = "str | Mapping[str, object] | Document"
"""A text; a Document; or a dict with ``text`` and ``id``, ``source``, ``metadata``; all else is metadata."""

_OWN_KEYS = frozenset({"id", "text", "source", "metadata"})
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_PART_ID = re.compile(r"#part\d+$")
_BREAKS = tuple(re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"[.!?。！？；]\s*", r"\s+", r""))


def to_document(item: DocumentLike) -> Document:
    """Make a Document of a string, dict or Document; dates in metadata become ISO 8601 strings.

    A text without an id takes a hash of its content as its id, so the same text is the same document.

    Raises:
        InvalidInputError: it has no text, or something that no database can hold.
    """
    if isinstance(item, Document):
        document = replace(item, metadata=_plain_metadata(item.metadata))
    elif isinstance(item, str):
        document = Document(_text_id(item), item)
    elif isinstance(item, Mapping):
        document = _from_mapping(item)
    else:
        raise InvalidInputError(f"a document is a string, a dict or a qvec.Document, not {type(item).__name__}")
    fault = document_fault(document)
    if fault:
        raise InvalidInputError(fault)
    if not document.text.strip():
        raise InvalidInputError("its text is empty or white space only")
    return document


def content_digest(document: Document) -> str:
    """Hash all that is stored of a document but its vector: 32 hexadecimal digits."""
    content = _CANONICAL.encode([document.text, document.metadata, document.source])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def split_document(document: Document, fits: Callable[[Document], bool]) -> list[Document]:
    """Cut a document into parts that fit, at paragraphs, else lines, sentences, spaces, anywhere; no character is lost.

    Args:
        document: is returned alone when it fits.
        fits: whether a part may stay whole.

    Returns:
        Parts with ids ``id#part1`` ..., the document's metadata and its id as `source`.

    Raises:
        InvalidInputError: even a single character does not fit, as when the title alone is too long.
    """
    if fits(document):
        return [document]
    source = document.source
    texts = break_up(document.text, lambda text: fits(replace(document, text=text)))
    return [
        replace(document, id=part_id(document.id, number), text=text, source=source)
        for number, text in enumerate(texts, 1)
    ]


def part_id(document_id: str, number: int) -> str:
    """Name the n-th part, from 1, of a document that was cut."""
    return f"{document_id}#part{number}"


def whole_id(record_id: str) -> str:
    """Name the document that a record is, or is a part of."""
    return _PART_ID.sub("", record_id)


def break_up(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Cut a text into pieces that fit, at paragraphs, else lines, sentences, spaces, anywhere; blank pieces go.

    Raises:
        InvalidInputError: even a single character does not fit.
    """
    done: list[str] = []
    waiting = [text]
    while waiting:
        piece = waiting.pop()
        if fits(piece):
            done.append(piece)
            continue
        if len(piece) < 2:
            raise InvalidInputError("it cannot be cut to fit: its title alone is over the limit")
        at = _break_near_middle(piece)
        waiting += [piece[at:], piece[:at]]
    return [piece for piece in done if piece.strip()]


def _break_near_middle(text: str) -> int:
    middle = len(text) // 2
    low, high = len(text) // 4, len(text) - len(text) // 4
    for pattern in _BREAKS[:-1]:
        ends = [match.end() for match in pattern.finditer(text, low, high) if 0 < match.end() < len(text)]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    return middle


def _from_mapping(item: Mapping[str, object]) -> Document:
    text = item.get("text")
    if not isinstance(text, str):
        raise InvalidInputError(f"a dict needs its text under the key 'text'; it has {sorted(map(str, item))}")
    metadata = item.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InvalidInputError(f"its metadata is {type(metadata).__name__}, not a dict")
    rest = {key: value for key, value in item.items() if key not in _OWN_KEYS}
    given = item.get("id")
    if given is not None and (isinstance(given, bool) or not isinstance(given, str | int)):
        raise InvalidInputError(f"its id is {type(given).__name__}, not a string or an integer")
    source = item.get("source")
    if source is not None and not isinstance(source, str):
        raise InvalidInputError(f"its source is {type(source).__name__}, not a string")
    identity = _text_id(text) if given is None else str(given)
    return Document(identity, text, _plain_metadata({**rest, **metadata}), source or "")


def _text_id(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _plain_metadata(metadata: Mapping[str, object]) -> dict[str, Value]:
    return {key: _plain(value) for key, value in metadata.items()}


def _plain(value: object) -> Value:
    if isinstance(value, date):
        return cast(Value, normalise(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in items]
    return cast(Value, value)
