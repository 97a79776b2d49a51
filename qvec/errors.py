"""Every exception that qvec raises.

    QvecError
    ├── ConfigError (ValueError) ── UnknownAdapterError
    ├── InvalidInputError (ValueError)          a document, id, vector, query or number that cannot be taken
    ├── MissingDriverError (ImportError)        ends with the pip line that mends it
    ├── CollectionError ── CollectionNotFoundError (LookupError), CollectionExistsError, PassportMismatchError
    ├── FilterError (ValueError)
    ├── UnsupportedError                        this database, in this version, cannot do that
    ├── EmbeddingError ── TextTooLongError, EndpointError
    └── BackendError ── BackendConnectionError, BackendTimeoutError, PartialWriteError

A driver's own exception is kept as ``__cause__``. No message ever holds a password.
"""

from __future__ import annotations

from collections.abc import Mapping


class QvecError(Exception):
    """Mark any failure that qvec foresees; the message says what to do next."""


class ConfigError(QvecError, ValueError):
    """Report a setting, URI or profile that cannot be used."""


class UnknownAdapterError(ConfigError):
    """Report a backend name that no installed package provides."""


class InvalidInputError(QvecError, ValueError):
    """Report a document, id, vector, query or number that cannot be taken."""


class MissingDriverError(QvecError, ImportError):
    """Report a package that is not installed, with the pip line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "qvec[{extra}]"')
        self.package = package
        self.extra = extra


class CollectionError(QvecError):
    """Report a collection that is not as the call needs it."""


class CollectionNotFoundError(CollectionError, LookupError):
    """Report a collection that the database does not hold."""


class CollectionExistsError(CollectionError):
    """Report a collection that is there already, or there with another shape."""


class PassportMismatchError(CollectionError):
    """Report vectors made by another model, dim or prompt than the one in use."""


class FilterError(QvecError, ValueError):
    """Report a filter that cannot be read or makes no sense."""


class UnsupportedError(QvecError):
    """Report something that this database, in this version, cannot do."""


class EmbeddingError(QvecError):
    """Report a model that cannot be loaded or a text that cannot be embedded."""


class TextTooLongError(EmbeddingError):
    """Report texts over the model's window.

    Attributes:
        lengths: position of each offending text in the call -> its length in tokens.
        limit: the window, in tokens.
    """

    def __init__(self, lengths: Mapping[int, int], limit: int) -> None:
        position, longest = max(lengths.items(), key=lambda item: item[1])
        super().__init__(
            f"{len(lengths)} text(s) over the model's window of {limit} tokens "
            f"(text {position} has {longest}): chunk them, or shorten them"
        )
        self.lengths = dict(lengths)
        self.limit = limit


class EndpointError(EmbeddingError):
    """Report an endpoint that gave no vectors or scores, whatever the texts.

    Attributes:
        status: of the HTTP answer; None when there was none.
        done: texts of the call that had been embedded.
        total: texts of the call.
    """

    def __init__(self, message: str, *, status: int | None = None, done: int = 0, total: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.done = done
        self.total = total


class BackendError(QvecError):
    """Report what the database refused or failed at."""


class BackendConnectionError(BackendError):
    """Report a database that cannot be reached, opened or logged in to."""


class BackendTimeoutError(BackendError):
    """Report a database that did not answer in time."""


class PartialWriteError(BackendError):
    """Report a write of which some documents failed.

    Attributes:
        failed: document id -> reason.
    """

    def __init__(self, failed: Mapping[str, str]) -> None:
        first = next(iter(failed.items()), ("", ""))
        super().__init__(f"{len(failed)} document(s) were not written; first {first[0]!r}: {first[1]}")
        self.failed = dict(failed)
