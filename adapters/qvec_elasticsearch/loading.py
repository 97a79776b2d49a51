"""An index's settings while it is loaded: no refresh by the clock, no copies of what was empty; and back again.

What is to be restored stands in the index itself, so that a load that was killed leaves nothing behind for long: who
opens the collection next restores it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from elasticsearch import Elasticsearch

from qvec.errors import BackendError
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.schema import RESTORE, Index, find

_LOG = logging.getLogger(__name__)
_COPIES = ("number_of_replicas", "auto_expand_replicas")
_LOADED_ALONE = {"number_of_replicas": 0, "auto_expand_replicas": "false"}
_NEVER = {"refresh_interval": "-1"}


class Loads:
    """The loads of this connection; a load is two writes or more with no refresh between them.

    Args:
        connection: to Elasticsearch.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._written: dict[str, list[int]] = {}
        self._lock = Lock()

    def write(self, index: Index, count: int) -> None:
        """Take note of a write, before it is sent; the second of a load changes the settings."""
        name = index.spec.name
        self.opened(index)
        with self._lock:
            writes = self._written.setdefault(name, [])
            writes.append(count)
            starts = len(writes) == 2
            before = sum(writes[:-1])
        if starts:
            self._try(name, lambda client: _hasten(client, index, written=before))

    def opened(self, index: Index) -> None:
        """Restore what an earlier load has left behind, unless this connection is loading."""
        if index.restore and index.spec.name not in self._written:
            self._try(index.spec.name, lambda client: _restore(client, index))

    def end(self, name: str) -> None:
        """Restore what this load has changed."""
        with self._lock:
            writes = self._written.pop(name, [])
        if len(writes) > 1:
            self._try(name, lambda client: _restore(client, find(client, name)))

    def forget(self, name: str) -> None:
        """Forget a collection that is dropped."""
        with self._lock:
            self._written.pop(name, None)

    def close(self) -> None:
        """End all loads."""
        for name in list(self._written):
            self.end(name)

    def _try(self, name: str, work: Callable[[Elasticsearch], None]) -> None:
        """Work on settings. A login that may write need not be one that may do that, and no load fails of it."""
        try:
            with self._connection.use(name) as client:
                work(client)
        except BackendError as exc:
            _LOG.info("the settings of %r stay as they are: %s", name, exc)


def _hasten(client: Elasticsearch, index: Index, *, written: int) -> None:
    [answer] = client.indices.get_settings(index=index.name).body.values()
    settings: Mapping[str, Any] = answer["settings"]["index"]
    keys = ["refresh_interval"]
    fast: dict[str, object] = dict(_NEVER)
    # Copies of what was there before the load are worth more than its speed.
    if client.count(index=index.name)["count"] <= written:
        keys += _COPIES
        fast |= _LOADED_ALONE
    restore = {**{key: settings.get(key) for key in keys}, **index.restore}
    client.indices.put_mapping(index=index.name, meta={**index.meta, RESTORE: restore})
    client.indices.put_settings(index=index.name, settings=fast)


def _restore(client: Elasticsearch, index: Index | None) -> None:
    if index is None or not index.restore:
        return
    client.indices.put_settings(index=index.name, settings=dict(index.restore))
    meta = {key: value for key, value in index.meta.items() if key != RESTORE}
    client.indices.put_mapping(index=index.name, meta=meta)
