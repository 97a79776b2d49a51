"""Documents from an index of another program: an Elasticsearch index or a Milvus collection, by its own fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from qvec.adapter import Adapter
from qvec.attaching import is_own_name
from qvec.errors import InvalidInputError
from qvec.migrate.fields import FieldMap
from qvec.migrate.source import Facts, Position, Record, Sampled
from qvec.migrate.stated import read_vector
from qvec.surveying import Row, SupportsSurvey
from qvec.types import CollectionSpec

_BATCH = 1000


class IndexSource(Sampled):
    """An index, read in the order that its database gives; what was copied of it is skipped by its id.

    Args:
        adapter: the connection, which this object then owns.
        reader: the same.
        index: its name.
        fields: which become what; dots lead into objects. The id is the index's own unless they name another.
        address: the database, without secrets.

    Raises:
        CollectionNotFoundError: there is no such index.
        InvalidInputError: it has no such field.
    """

    def __init__(self, adapter: Adapter, reader: SupportsSurvey, index: str, fields: FieldMap, address: str) -> None:
        self.name = index
        self.spec: CollectionSpec | None = None
        self.fingerprint = f"{address} {index}"
        self._adapter = adapter
        self._reader = reader
        self._survey = reader.survey(index)
        self.fields = fields.with_id([self._survey.key])
        for field in (*self.fields.id, *self.fields.text_columns, *(self.fields.metadata or ())):
            if not self._may_have(field):
                known = ", ".join(name for name in self._survey.fields if not self._is_hidden(name))
                raise InvalidInputError(f"the index {index} has no field {field!r}; it has {known}")

    def count(self) -> int | None:
        """Tell what the database counted."""
        return self._survey.rows

    def records(self, after: Position = None) -> Iterator[Record]:
        """Walk the index."""
        for rows in self._reader.read_index(self.name, size=_BATCH, vector=self.fields.vector):
            for row in rows:
                place = f"{self.name}[{row[self._survey.key]}]"
                try:
                    vector = read_vector(row.get(self.fields.vector)) if self.fields.vector else None
                    yield Record(place, None, self.fields.document(self._laid(row)), vector=vector)
                except InvalidInputError as exc:
                    yield Record(place, None, None, str(exc))

    def sample(self, size: int, chance: Random) -> list[Mapping[str, object]]:
        """Read documents chosen at random."""
        return [self._laid(row) for row in self._reader.sample_index(self.name, size=size, chance=chance)]

    def facts(self) -> Facts:
        """Say what the database tells of the index, and what an attach would keep others from."""
        survey = self._survey
        return Facts(dict(survey.facts), list(survey.locks), list(survey.faults), self._reader.index_bytes)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()

    def _is_hidden(self, field: str) -> bool:
        """Tell that an attach or a swap added the field, and nobody asked for its vectors."""
        return is_own_name(field) and field != self.fields.vector

    def _may_have(self, field: str) -> bool:
        """Tell whether the index has a field, or an object whose fields nobody declared and that may have it."""
        known, (head, *rest) = self._survey.fields, field.split(".")
        if field in known or self._survey.is_open:
            return True
        return bool(rest) and head in known and not any(name.startswith(f"{head}.") for name in known)

    def _laid(self, row: Row) -> Row:
        """Lay what stands within objects beside them, and write lists of texts as lines."""
        found = {name: value for name, value in row.items() if not self._is_hidden(name)}
        for path in (*self.fields.text_columns, *self.fields.id, *(self.fields.metadata or ())):
            if path not in found and "." in path:
                found[path] = _taken(found, path.split("."))
        for path in self.fields.text_columns:
            value = found.get(path)
            if isinstance(value, list):
                found[path] = "\n".join(str(item) for item in value if item is not None)
        return found


def _taken(row: Row, path: list[str]) -> object:
    """Take a value out of the objects that it stands in, which others may hold as well and stay as they are."""
    head, *rest = path
    value = row.get(head)
    if not rest:
        row.pop(head, None)
        return value
    if not isinstance(value, Mapping):
        return None
    inner: Row = dict(value)
    found = _taken(inner, rest)
    row[head] = inner
    if not inner:
        del row[head]
    return found
