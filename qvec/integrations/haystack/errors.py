"""Errors that are qvec's and Haystack's at once, so that both ways of catching them work."""

from __future__ import annotations

from haystack.document_stores.errors import DuplicateDocumentError
from haystack.errors import FilterError as HaystackFilterError

from qvec.errors import FilterError, InvalidInputError


class QvecFilterError(FilterError, HaystackFilterError):  # type: ignore[misc]  # the base is Any to mypy: Haystack is not installed everywhere
    """Report a filter that cannot be read or makes no sense."""


class QvecDuplicateError(InvalidInputError, DuplicateDocumentError):  # type: ignore[misc]  # as above
    """Report documents that are there already, where the policy forbids to write them again."""
