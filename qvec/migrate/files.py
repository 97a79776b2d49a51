"""Rows from JSON Lines, CSV and Parquet files."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from qvec.errors import InvalidInputError, MissingDriverError
from qvec.migrate.fields import FieldMap
from qvec.migrate.source import Position, Record, Source
from qvec.migrate.stated import read_vector
from qvec.types import CollectionSpec

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

Row: TypeAlias = "Mapping[str, object] | str"
"""A row's columns, or why there are none."""

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_FIELD_LIMIT = 2**31 - 1


def open_file(path: Path, fields: FieldMap) -> Source:
    """Read a file by its suffix; its rows' ids are taken from the column ``id`` unless `fields` says other columns.

    Raises:
        InvalidInputError: it cannot be opened, or is of no kind that is known.
        MissingDriverError: Parquet needs pyarrow.
    """
    suffix = path.suffix.lower()
    kind = {".csv": CsvFile, ".tsv": CsvFile, ".parquet": ParquetFile}.get(suffix, JsonLinesFile)
    if suffix not in SUFFIXES:
        raise InvalidInputError(f"{path}: takes a file that ends in {', '.join(SUFFIXES)}")
    try:
        return kind(path, fields.with_id(["id"]))
    except OSError as exc:
        raise InvalidInputError(f"{path} cannot be read: {exc.strerror or exc}") from exc


class _File(Source):
    """A file whose rows are numbered from 1; its place is a line where it has lines."""

    def __init__(self, path: Path, fields: FieldMap) -> None:
        found = path.stat()
        self.name = path.name
        self.fingerprint = f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"
        self.spec: CollectionSpec | None = None
        self.fields = fields
        self.path = path

    def records(self, after: Position = None) -> Iterator[Record]:
        """Read rows in the file's order."""
        start = after if isinstance(after, int) else 0
        for number, (line, row) in enumerate(self.rows(start), start + 1):
            place = f"{self.name}:{line}"
            if isinstance(row, str):
                yield Record(place, number, None, row)
                continue
            try:
                vector = read_vector(row.get(self.fields.vector)) if self.fields.vector else None
                yield Record(place, number, self.fields.document(row), vector=vector)
            except InvalidInputError as exc:
                yield Record(place, number, None, str(exc))

    def close(self) -> None:
        """Nothing stays open between rows."""

    @abstractmethod
    def rows(self, start: int) -> Iterator[tuple[int, Row]]:
        """Yield line and row of all but the first `start` rows."""


class JsonLinesFile(_File):
    """One object a line."""

    def count(self) -> int:
        """Read the file for its lines; that is nothing beside their embedding."""
        with self.path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def rows(self, start: int) -> Iterator[tuple[int, Row]]:
        """Read lines; blank ones are no rows."""
        with self.path.open("rb") as file:
            lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
            for number, line in islice(lines, start, None):
                yield number, _object(line.removeprefix(b"\xef\xbb\xbf"))


class CsvFile(_File):
    """A header and rows, separated by commas, or in .tsv by tabs."""

    def count(self) -> int:
        """Read the file for its rows; that is nothing beside their embedding."""
        with self._open() as file:
            return max(sum(1 for row in self._reader(file) if row) - 1, 0)

    def rows(self, start: int) -> Iterator[tuple[int, Row]]:
        """Read rows; one with more or fewer fields than the header is bad."""
        with self._open() as file:
            reader = self._reader(file)
            header = next(reader, [])
            self.fields.check(header, self.name)
            for values in islice((row for row in reader if row), start, None):
                fits = len(values) == len(header)
                yield (
                    reader.line_num,
                    dict(zip(header, values, strict=True))
                    if fits
                    else f"has {len(values)} fields where the header has {len(header)}",
                )

    def _open(self) -> TextIO:
        return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _reader(self, file: TextIO) -> CsvReader:
        # The module's own limit of 131,072 characters is less than a long article; it has no per-reader setting.
        csv.field_size_limit(_FIELD_LIMIT)
        return csv.reader(file, delimiter="\t" if self.path.suffix.lower() == ".tsv" else ",")


class ParquetFile(_File):
    """Rows of a Parquet file, read by row group."""

    def count(self) -> int | None:
        """Read from the file's footer."""
        return int(self._open().metadata.num_rows)

    def rows(self, start: int) -> Iterator[tuple[int, Row]]:
        """Read rows in groups, without those groups that lie before `start`."""
        file = self._open()
        self.fields.check(file.schema_arrow.names, self.name)
        number = 0
        for group in range(file.metadata.num_row_groups):
            size = int(file.metadata.row_group(group).num_rows)
            if number + size <= start:
                number += size
                continue
            for batch in file.iter_batches(1000, row_groups=[group]):
                for row in batch.to_pylist():
                    number += 1
                    if number > start:
                        yield number, row
        file.close()

    def _open(self) -> Any:
        try:
            import pyarrow.parquet
        except ImportError as exc:
            raise MissingDriverError("pyarrow", "parquet") from exc
        try:
            return pyarrow.parquet.ParquetFile(self.path)
        except pyarrow.ArrowException as exc:
            raise InvalidInputError(f"{self.path} cannot be read: {exc}") from exc


def _object(line: bytes) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        return f"not JSON: {exc}"
    return found if isinstance(found, dict) else f"not an object but {type(found).__name__}"
