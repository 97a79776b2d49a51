"""Which columns of a row become a document's id, text and metadata."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from uuid import UUID

from qvec.documents import content_digest, to_document
from qvec.errors import InvalidInputError
from qvec.types import TITLE, Document

_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class FieldMap:
    """How a row becomes a document.

    Attributes:
        id: the columns that make the id; none: the table's primary key, or a file's column ``id``.
        text: a column, or a template over several: ``"{title}\\n{body}"``.
        metadata: the columns that come along; None: all that the text does not already hold alone.
        vector: the column of a vector that was made before; empty: there is none.
    """

    id: tuple[str, ...] = ()
    text: str = "text"
    metadata: tuple[str, ...] | None = None
    vector: str = ""

    @property
    def is_template(self) -> bool:
        """Whether `text` is a template, not a column."""
        return _FIELD.search(self.text) is not None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the text is made of, in order, each once."""
        return tuple(dict.fromkeys(_FIELD.findall(self.text))) if self.is_template else (self.text,)

    def with_id(self, columns: Sequence[str]) -> FieldMap:
        """Take `columns` for the id where none were given."""
        return self if self.id else replace(self, id=tuple(columns))

    def check(self, columns: Sequence[str], where: str) -> None:
        """Check that a source has every column that is named.

        Raises:
            InvalidInputError: names the first that it has not, and those that it has.
        """
        named = (*self.id, *self.text_columns, *(self.metadata or ()), *((self.vector,) if self.vector else ()))
        for column in named:
            if column not in columns:
                raise InvalidInputError(f"{where} has no column {column!r}; it has {', '.join(columns)}")

    def text_of(self, row: Mapping[str, object]) -> str:
        """Write a row's text; a template takes nothing for NULL."""
        if not self.is_template:
            value = row.get(self.text)
            return "" if value is None else str(plain(value))
        return _FIELD.sub(lambda match: "" if row.get(match[1]) is None else str(plain(row[match[1]])), self.text)

    def metadata_columns(self, columns: Iterable[str]) -> list[str]:
        """Choose the columns of the metadata: all but the text and an id of one column, which say nothing more.

        Nor the title, where a template has it: metadata's title is embedded above the text, so it would count twice.
        """
        held = [name for name in self.text_columns if name == TITLE] if self.is_template else [self.text]
        own = {*(self.id if len(self.id) == 1 else ()), *held, self.vector}
        return list(self.metadata) if self.metadata is not None else [name for name in columns if name not in own]

    def metadata_of(self, row: Mapping[str, object]) -> dict[str, object]:
        """Write a row's metadata; an object under ``metadata`` is taken apart, as `qvec.index` does."""
        found = {name: plain(row[name]) for name in self.metadata_columns(row) if name in row}
        inner = found.get("metadata") if self.metadata is None else None
        return (
            {**{key: found[key] for key in found if key != "metadata"}, **inner} if isinstance(inner, dict) else found
        )

    def document(self, row: Mapping[str, object]) -> Document:
        """Make a document of a row, with the digest of its content.

        Raises:
            InvalidInputError: no id, no text, or something that no database can hold.
        """
        missing = [column for column in self.id if row.get(column) in (None, "")]
        if missing:
            raise InvalidInputError(f"its id column {missing[0]!r} is empty")
        metadata = self.metadata_of(row)
        text = self.text_of(row)
        if not text.strip():
            raise InvalidInputError("its text is empty or white space only")
        identity = join_id([row[column] for column in self.id])
        document = to_document({"id": identity, "text": text, "metadata": metadata})
        return Document(document.id, document.text, document.metadata, digest=content_digest(document))


def join_id(values: Sequence[object]) -> str:
    """Write the values of a key as one id; those of several columns stand between slashes, their own escaped."""
    texts = [str(plain(value)) for value in values]
    if len(texts) == 1:
        return texts[0]
    return "/".join(text.replace("%", "%25").replace("/", "%2F") for text in texts)


def plain(value: object) -> object:
    """Turn what SQL and Parquet have into what JSON has; bytes become Base64."""
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, UUID | timedelta):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat() if isinstance(value, time) else value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value
