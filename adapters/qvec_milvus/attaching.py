"""Filling a collection's twin, and bringing writes back when it is taken away.

Beside each vector the twin keeps two hashes: of the text that the vector was made from, and of the whole row as it was
brought. The second is the checkpoint, and tells which rows of the twin others have written to since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qvec.attaching import AttachRow
from qvec.types import Vectors
from qvec_milvus.connection import Connection
from qvec_milvus.filters import every_number, literal
from qvec_milvus.reading import Reader
from qvec_milvus.twins import DYNAMIC, Twin

_PAGE = 500


class Filling:
    """The rows of a collection and of its twin.

    Args:
        connection: to Milvus.
        twin: as it stands.
    """

    def __init__(self, connection: Connection, twin: Twin) -> None:
        self._connection = connection
        self._twin = twin
        self._reader = Reader(connection)
        # Reads are strong: what others wrote a moment ago must not be missed.
        for name in (twin.old, twin.new):
            connection.wrote(name)

    def rows(self, size: int, *, vectors: bool) -> Iterator[list[AttachRow]]:
        """Read all rows: of the twin once it has the name, of the collection before."""
        twin = self._twin
        if twin.is_settled or (vectors and twin.is_switched):
            for page in self._pages(twin.new, self._own(vectors=vectors), size):
                yield [self._of_twin(row) for row in page]
            return
        for page in self._pages(twin.old, [*twin.fields], size):
            yield self._beside(page, vectors=vectors)

    def among(self, ids: Sequence[str]) -> list[AttachRow]:
        """Read some rows as they are now."""
        twin = self._twin
        if twin.is_settled:
            return [self._of_twin(row) for row in self._some(twin.new, self._own(vectors=False), ids)]
        return self._beside(list(self._some(twin.old, [*twin.fields], ids)), vectors=False)

    def differing(self, size: int) -> Iterator[list[AttachRow]]:
        """Read the rows that the twin has otherwise, but for those that were written to in the twin since."""
        for page in self.rows(size, vectors=False):
            rows = [row for row in page if not row.stamp[0]]
            if self._twin.is_switched:
                newer = self._newer([row.id for row in rows])
                rows = [row for row in rows if row.id not in newer]
            if rows:
                yield rows

    def write(self, rows: Sequence[AttachRow], digests: Sequence[str], vectors: Vectors) -> list[str]:
        """Write whole rows with their vectors into the twin; return the ids of those whose text is another by now."""
        twin = self._twin
        source = twin.new if twin.is_settled else twin.old
        ids = [row.id for row in rows]
        newer = self._newer(ids) if twin.is_switched and not twin.is_settled else set()
        now = {self._id(row): self._content(row) for row in self._some(source, [*twin.fields], ids)}
        conflicts, made = [], []
        for row, digest, vector in zip(rows, digests, vectors, strict=True):
            content = now.get(row.id)
            if content is None or row.id in newer:
                continue
            if str(content.get(twin.form.text) or "") != row.text:
                conflicts.append(row.id)
                continue
            made.append({**content, twin.form.vector: vector, twin.form.digest: f"{digest} {hashed(content)}"})
        self._upsert(twin.new, made)
        return conflicts

    def drop_extra(self) -> None:
        """Delete what the twin was brought and the collection no longer has."""
        twin = self._twin
        for page in self._pages(twin.new, [twin.form.id], _PAGE):
            ids = [self._id(row) for row in page]
            there = {self._id(row) for row in self._some(twin.old, [twin.form.id], ids)}
            gone = [identity for identity in ids if identity not in there]
            newer = self._newer(gone) if twin.is_switched else set()
            self._delete(twin.new, [identity for identity in gone if identity not in newer])

    def bring_back(self) -> None:
        """Give the collection what was written by its name since the exchange."""
        twin = self._twin
        for page in self._pages(twin.new, [*twin.fields, twin.form.digest], _PAGE):
            ids = [self._id(row) for row in page]
            held = {self._id(row): row for row in self._some(twin.old, [*twin.fields, *twin.left], ids)}
            made = []
            for row in page:
                content, was = self._content(row), held.get(self._id(row), {})
                is_newer = hashed(content) != _hashes(row.get(twin.form.digest))[1]
                if (is_newer or twin.is_settled) and (not was or self._content(was) != content):
                    left = {name: was.get(name, [0.0] * dim) for name, dim in twin.left.items()}
                    made.append({**content, **left})
            self._upsert(twin.old, made)
        if twin.is_settled:
            for page in self._pages(twin.old, [twin.form.id], _PAGE):
                ids = [self._id(row) for row in page]
                there = {self._id(row) for row in self._some(twin.new, [twin.form.id], ids)}
                self._delete(twin.old, [identity for identity in ids if identity not in there])

    def _beside(self, page: list[dict[str, Any]], *, vectors: bool) -> list[AttachRow]:
        form = self._twin.form
        fields = [form.id, form.digest, *([form.vector] if vectors else [])]
        ids = [self._id(row) for row in page]
        held = {self._id(row): row for row in self._some(self._twin.new, fields, ids)}
        found = []
        for row in page:
            content, beside = self._content(row), held.get(self._id(row), {})
            digest, whole = _hashes(beside.get(form.digest))
            is_same = whole == hashed(content)
            found.append(self._row(row, digest if is_same else "", beside.get(form.vector), is_same=is_same))
        return found

    def _of_twin(self, row: dict[str, Any]) -> AttachRow:
        digest, whole = _hashes(row.get(self._twin.form.digest))
        return self._row(row, digest, row.get(self._twin.form.vector), is_same=whole == hashed(self._content(row)))

    def _row(self, row: dict[str, Any], digest: str, vector: object, *, is_same: bool) -> AttachRow:
        text = str(row.get(self._twin.form.text) or "")
        held = np.asarray(vector, np.float32) if digest and vector is not None else None
        return AttachRow(self._id(row), text, digest, (int(is_same),), held)

    def _newer(self, ids: Sequence[str]) -> set[str]:
        """Tell which rows of the twin others have written to."""
        twin = self._twin
        return {
            self._id(row)
            for row in self._some(twin.new, self._own(vectors=False), ids)
            if _hashes(row.get(twin.form.digest))[1] != hashed(self._content(row))
        }

    def _own(self, *, vectors: bool) -> list[str]:
        form = self._twin.form
        return [*self._twin.fields, form.digest, *([form.vector] if vectors else [])]

    def _id(self, row: Mapping[str, Any]) -> str:
        return str(row[self._twin.form.id])

    def _content(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Write a row without what is qvec's; Lite gives the fields that no schema names beside the others."""
        twin = self._twin
        ours = {twin.form.vector, twin.form.digest, DYNAMIC, *twin.left}
        found = {key: _plain(value) for key, value in row.items() if key not in ours and value is not None}
        return found | dict(_plain(row.get(DYNAMIC)) or {})

    def _pages(self, name: str, fields: list[str], size: int) -> Iterator[list[dict[str, Any]]]:
        key = self._twin.form.id
        everything = every_number(key) if self._twin.has_number_ids else f'{key} != ""'
        return self._reader.pages(name, everything, self._asked(fields), size, key=key)

    def _some(self, name: str, fields: list[str], ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(ids), _PAGE):
            yield from self._reader.rows(name, self._one_of(ids[start : start + _PAGE]), self._asked(fields))

    def _asked(self, fields: list[str]) -> list[str]:
        return [*fields, DYNAMIC] if self._twin.is_dynamic and len(fields) > 1 else fields

    def _one_of(self, ids: Sequence[str]) -> str:
        known = ids if self._twin.has_number_ids else [literal(identity) for identity in ids]
        return f"{self._twin.form.id} in [{', '.join(known)}]"

    def _upsert(self, name: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            with self._connection.use() as client:
                client.upsert(name, rows)

    def _delete(self, name: str, ids: Sequence[str]) -> None:
        if ids:
            with self._connection.use() as client:
                client.delete(name, filter=self._one_of(ids))


def hashed(content: Mapping[str, Any]) -> str:
    """Hash a row's content."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=float)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _hashes(note: object) -> tuple[str, str]:
    digest, _, whole = str(note or "").partition(" ")
    return digest, whole


def _plain(value: Any) -> Any:
    """Read Milvus' arrays, which come as gRPC's own lists, and JSON fields, which come as bytes from old servers."""
    found = json.loads(value) if isinstance(value, bytes) else value
    return found if isinstance(found, str | int | float | Mapping) or found is None else list(found)
