"""Tokens as PostgreSQL's tsvector keeps them: a lexeme has as many positions as its token occurs."""

from __future__ import annotations

import hashlib

MAX_POSITIONS = 64
"""Beyond so many positions, the last is the number of times itself."""

MAX_LEXEME = 2046
"""Bytes; PostgreSQL refuses longer lexemes."""

_MAX_FREQUENCY = 16383  # a lexeme's position has 14 bits


def lexeme(token: str) -> str:
    """Return the token, or for one that is too long for PostgreSQL, its hash."""
    if len(token) * 4 <= MAX_LEXEME or len(token.encode()) <= MAX_LEXEME:
        return token
    return hashlib.sha256(token.encode()).hexdigest()


def positions(frequency: int) -> list[int]:
    """Number the places of a token that occurs so often: 1, 2, 3 ... up to `MAX_POSITIONS`, the last its frequency."""
    return [*range(1, min(frequency, MAX_POSITIONS)), min(frequency, _MAX_FREQUENCY)]
