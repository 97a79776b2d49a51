"""From pymilvus' errors to qvec's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qvec.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    InvalidInputError,
    QvecError,
    UnsupportedError,
)


class MovedError(BackendError):
    """Report a collection that lacks the partition of the one that was meant: the two have traded names."""


MAP: dict[str, type[QvecError]] = {
    "CollectionNotExistException": CollectionNotFoundError,
    "ConnectError": BackendConnectionError,
    "ConnectionNotExistException": BackendConnectionError,
    "ConnectionConfigException": BackendConnectionError,
    "MilvusUnavailableException": BackendConnectionError,
    "MilvusException": BackendError,
    "DescribeCollectionException": BackendError,
    "DataTypeNotSupportException": UnsupportedError,
    "FunctionIncorrectInputOutputType": UnsupportedError,
    "ParamError": InvalidInputError,
    "DataNotMatchException": InvalidInputError,
    "DataTypeNotMatchException": InvalidInputError,
    "PrimaryKeyException": InvalidInputError,
    "ExceedMaxLengthException": InvalidInputError,
}
"""By class name, so that the driver is not loaded to read it; a class that is not named here is a BackendError."""

_NOT_FOUND = {100, 4}
"""Codes of a missing collection: 100 from servers since 2.3 and Lite, 4 from older ones."""

_NO_PARTITION = 200
_UNREACHABLE = {2}


@contextmanager
def mapped(place: str) -> Iterator[None]:
    """Raise qvec's error for whatever the block raises from pymilvus; `place` names the database, without secrets."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as exc:
        raise _ours(exc)(f"Milvus at {place}: {' '.join(str(exc.message or exc).split())}") from exc
    except grpc.RpcError as exc:
        code = exc.code() if isinstance(exc, grpc.Call) else None
        kind = BackendTimeoutError if code == grpc.StatusCode.DEADLINE_EXCEEDED else BackendConnectionError
        raise kind(f"Milvus at {place} did not answer ({code}): check that it runs") from exc
    except grpc.FutureTimeoutError as exc:
        raise BackendConnectionError(f"Milvus at {place} did not answer in time: check that it runs") from exc


def _ours(exc: Exception) -> type[QvecError]:
    code = getattr(exc, "code", None)
    # An upsert of a 2.3 server has no code for it.
    if code in _NOT_FOUND or str(getattr(exc, "message", "")).startswith("collection not found"):
        return CollectionNotFoundError
    if code == _NO_PARTITION:
        return MovedError
    if code in _UNREACHABLE and type(exc).__name__ == "MilvusException":
        return BackendConnectionError
    for kind in type(exc).__mro__:
        if kind.__name__ in MAP:
            return MAP[kind.__name__]
    return BackendError
