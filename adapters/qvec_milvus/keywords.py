"""The keyword tokens of `qvec.lexical` as words that Milvus' standard analyzer leaves whole."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qvec.lexical import K1

_PLAIN = re.compile(r"[a-z0-9]+", re.ASCII)
BM25_SCALE = 1 / (K1 + 1)
"""Milvus multiplies each term's score by ``k1 + 1``, Lucene (since 8) and the reference do not."""


def words(tokens: Iterable[str]) -> str:
    """Join tokens with spaces: plain ASCII words behind a ``w``, others as ``x`` and their UTF-8 in base 36.

    The ``w`` keeps Milvus Lite 3.2 from taking some of them for stop words.
    """
    return " ".join(f"w{token}" if _PLAIN.fullmatch(token) else _coded(token) for token in tokens)


def _coded(token: str) -> str:
    number = int.from_bytes(b"\x01" + token.encode())
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "x" + "".join(reversed(digits))
