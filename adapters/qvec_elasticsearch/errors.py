"""From elasticsearch-py's errors, and from those inside an answer, to qvec's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import elastic_transport as transport
import elasticsearch as driver

from qvec.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
    QvecError,
    UnsupportedError,
)


class TooManyClausesError(InvalidInputError):
    """Report a query of more parts than the nodes take, ``indices.query.bool.max_clause_count``."""


class MovedError(BackendError):
    """Report records with the mark of another model than the index's: collections have traded names."""


MAP: tuple[tuple[type[Exception], type[QvecError]], ...] = (
    (transport.ConnectionTimeout, BackendTimeoutError),
    (transport.TlsError, BackendConnectionError),
    (transport.ConnectionError, BackendConnectionError),
    (transport.SniffingError, BackendConnectionError),
    (transport.SerializationError, BackendError),
    (driver.UnsupportedProductError, BackendConnectionError),
    (driver.AuthenticationException, BackendConnectionError),
    (driver.AuthorizationException, BackendError),
    (driver.NotFoundError, BackendError),
    (driver.ConflictError, BackendError),
    (driver.BadRequestError, BackendError),
    (transport.ApiError, BackendError),
    (transport.TransportError, BackendError),
)
"""Most specific first. What the server says of its error, `TYPES`, comes before this."""

DRIVER_ERRORS = (transport.ApiError, transport.TransportError, driver.UnsupportedProductError)
"""What the driver raises, by its bases."""

TYPES: dict[str, type[QvecError]] = {
    "index_not_found_exception": CollectionNotFoundError,
    "resource_already_exists_exception": CollectionExistsError,
    "invalid_alias_name_exception": CollectionExistsError,
    "media_type_header_exception": UnsupportedError,
    "strict_dynamic_mapping_exception": MovedError,
    "cluster_block_exception": BackendError,
    "es_rejected_execution_exception": BackendError,
    "circuit_breaking_exception": BackendError,
    "too_many_nested_clauses": TooManyClausesError,
    "too_many_clauses": TooManyClausesError,
    "process_cluster_event_timeout_exception": BackendTimeoutError,
}
"""By the type that the server gives its error."""

_FEWER = "ask with fewer words, or raise indices.query.bool.max_clause_count"
_ADVICE: dict[str, str] = {
    "too_many_nested_clauses": _FEWER,
    "too_many_clauses": _FEWER,
    "cluster_block_exception": "the index takes no writes: free disk space, or take the block off the index",
    "es_rejected_execution_exception": "the server is overloaded: write from fewer places at once, or try again",
    "circuit_breaking_exception": "the server is short of memory: send less at once, or give it more heap",
    "media_type_header_exception": (
        "this elasticsearch-py does not speak to this server: pip install the client of the server's major version"
    ),
}
_STATUS_ADVICE = {
    401: "check the user, password or api_key",
    403: "this user or key may not do that",
    413: "the server takes no request so large: raise http.max_content_length, or send less at once",
}
_DEPTH = "indices.query.bool.max_nested_depth"
"""The setting of how deep a filter may be nested, 30 if it is not set; its error has no type of its own."""

_KIND_ADVICE: dict[type[QvecError], str] = {
    BackendConnectionError: "check that the server runs, its host and port, and http or https",
    BackendTimeoutError: "raise timeout= in the URI, or try again",
}


@contextmanager
def mapped(place: str, name: str = "") -> Iterator[None]:
    """Raise qvec's error for whatever the block raises from the driver.

    Args:
        place: names the server, without secrets.
        name: the collection, for the error that it is not there.
    """
    try:
        yield
    except DRIVER_ERRORS as exc:
        raise ours(exc, place, name) from exc


def ours(exc: Exception, place: str, name: str = "") -> QvecError:
    """Make qvec's error for one of the driver's."""
    if isinstance(exc, transport.ApiError):
        body = exc.body if isinstance(exc.body, dict) else {}
        error = body.get("error")
        if isinstance(error, dict):
            return fault(error, exc.meta.status, place, name)
    kind = next(ours for theirs, ours in MAP if isinstance(exc, theirs))
    status = exc.meta.status if isinstance(exc, transport.ApiError) else 0
    said = " ".join(str(exc).split())[:500] or type(exc).__name__
    return kind(f"Elasticsearch at {place}: {said}{_advice('', status, kind)}")


def fault(error: Mapping[str, Any], status: int, place: str, name: str = "") -> QvecError:
    """Make qvec's error of one that stands in an answer."""
    type_ = next((each for each in _types(error) if each in TYPES), type_of(error))
    kind = TYPES.get(type_) or (BackendConnectionError if status == 401 else BackendError)
    if kind is CollectionNotFoundError and name:
        return CollectionNotFoundError(f"no collection {name!r} in Elasticsearch at {place}: index into it first")
    said = reason(error)
    if _DEPTH in said:
        kind = UnsupportedError
    return kind(f"Elasticsearch at {place}: {said}{_advice(type_, status, kind)}")


def type_of(error: Mapping[str, Any]) -> str:
    """Name the error that lies at the root of another."""
    causes = error.get("root_cause") or [error]
    return str(causes[0].get("type", ""))


def _types(error: Mapping[str, Any]) -> Iterator[str]:
    """Name an error and all that caused it."""
    yield str(error.get("type", ""))
    shards = [shard.get("reason") for shard in error.get("failed_shards") or []]
    for cause in [*(error.get("root_cause") or []), *shards, error.get("caused_by")]:
        if isinstance(cause, dict):
            yield from _types(cause)


def reason(error: Mapping[str, Any]) -> str:
    """Say in one line what the server says, the innermost cause last."""
    said = [str(error.get("reason") or error.get("type") or "no reason given")]
    causes = error.get("failed_shards") or []
    inner = causes[0].get("reason") if causes else error.get("caused_by")
    while isinstance(inner, dict):
        more = str(inner.get("reason") or inner.get("type"))
        if not any(more in each for each in said):
            said.append(more)
        inner = inner.get("caused_by")
    return " ".join(": ".join(said).split())[:1000]


def _advice(type_: str, status: int, kind: type[QvecError]) -> str:
    advice = _ADVICE.get(type_) or _STATUS_ADVICE.get(status) or _KIND_ADVICE.get(kind)
    return f" ({advice})" if advice else ""
