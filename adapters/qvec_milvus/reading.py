"""Reading records by expression, whole or in pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qvec.errors import BackendError
from qvec_milvus.connection import Connection
from qvec_milvus.filters import EVERYTHING, literal

PAGE = 10_000
AT_ONCE = 2000
"""So many records are read at once whatever they hold, 130 kB each at most."""


class Reader:
    """Read from the collections of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, name: str, expression: str = "") -> int:
        """Count the records that an expression is true of."""
        return self._count(name, expression, self._connection.level(name))

    def settle(self, name: str) -> None:
        """Wait until what was written to a collection can be read by everyone."""
        # Taken off first: a write of another thread meanwhile puts it on again.
        self._connection.unsettled.pop(name, None)
        try:
            self._count(name, "", "Strong")
        except BackendError:
            self._connection.wrote(name)
            raise

    def _count(self, name: str, expression: str, level: str) -> int:
        with self._connection.use() as client:
            found = client.query(name, filter=expression, output_fields=["count(*)"], consistency_level=level)
        return int(found[0]["count(*)"])

    def rows(
        self,
        name: str,
        expression: str,
        fields: list[str],
        *,
        sources: Sequence[str] | None = None,
        at_once: int = AT_ONCE,
    ) -> Iterator[dict[str, Any]]:
        """Read the fields of the records that an expression is true of; `sources` names theirs, where they are known.

        Up to `at_once` are read with one query: pymilvus 3.0's iterator takes half a second to begin on a server of
        2.3, and on Lite 3.2 makes gRPC log a traceback.
        """
        limit = None if self._connection.is_lite else at_once
        with self._connection.use() as client:
            found = client.query(
                name,
                filter=expression or EVERYTHING,
                output_fields=fields,
                consistency_level=self._connection.level(name, sources),
                **({"limit": limit} if limit else {}),
            )
        if limit is None or len(found) < limit:
            yield from found
            return
        for page in self.pages(name, expression, fields):
            yield from page

    def pages(
        self, name: str, expression: str, fields: list[str], size: int = PAGE, *, key: str = "id"
    ) -> Iterator[list[dict[str, Any]]]:
        """Read the fields of the records that an expression is true of, in order of id."""
        wanted = expression or EVERYTHING
        walk = self._walk(name, wanted, fields, size)
        while True:
            with self._connection.use():
                page = list(walk.next())
                if not page:
                    walk.close()
                    return
            yield page
            last = page[-1][key]
            if isinstance(last, str) and literal(last) != f'"{last}"':
                # pymilvus 3.0 goes on after the last id by putting it between quotes as it is.
                walk.close()
                walk = self._walk(name, f"({wanted}) and {key} > {literal(last)}", fields, size)

    def _walk(self, name: str, expression: str, fields: list[str], size: int) -> Any:
        with self._connection.use() as client:
            return client.query_iterator(
                name,
                batch_size=size,
                filter=expression,
                output_fields=fields,
                consistency_level=self._connection.level(name),
            )
