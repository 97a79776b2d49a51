"""Pages of one list of hits, and the cursor that leads from one to the next."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable

from qvec.errors import InvalidInputError
from qvec.types import Hit


class Hits(list[Hit]):
    """One page of hits.

    Attributes:
        offset: how many hits of the list come before it.
        cursor: for the page after this one; empty after the last.
        keywords: what the keyword leg was asked for: the query, with English words behind it where they were added.
    """

    def __init__(self, hits: Iterable[Hit] = (), *, offset: int = 0, cursor: str = "", keywords: str = "") -> None:
        super().__init__(hits)
        self.offset = offset
        self.cursor = cursor
        self.keywords = keywords


def fingerprint(*parts: object) -> str:
    """Digest what a list of hits depends on, by its parts' `repr`."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def page(hits: Iterable[Hit], *, k: int, offset: int, question: str, keywords: str) -> Hits:
    """Make a page of `k` hits that begins at `offset`, of the list that the fingerprint `question` names."""
    shown = list(hits)
    if len(shown) < k:
        return Hits(shown, offset=offset, keywords=keywords)
    written = json.dumps([offset + k, question], separators=(",", ":")).encode()
    cursor = base64.urlsafe_b64encode(written).decode().rstrip("=")
    return Hits(shown, offset=offset, cursor=cursor, keywords=keywords)


def offset_of(cursor: str, *, question: str) -> int:
    """Read where a cursor's page begins.

    Raises:
        InvalidInputError: it is none of ours, or leads through another list.
    """
    try:
        offset, asked = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError) as exc:
        raise InvalidInputError(f"cursor={cursor!r} is none that a search gave: take Hits.cursor as it is") from exc
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0 or not isinstance(asked, str):
        raise InvalidInputError(f"cursor={cursor!r} is none that a search gave: take Hits.cursor as it is")
    if asked != question:
        raise InvalidInputError("the cursor is of another search: ask with the same query and options, k aside")
    return offset
