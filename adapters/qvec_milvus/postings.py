"""The keyword tokens of a document as Milvus fields, and the expressions that find the documents with a term.

`words` holds each token with its count, `` read:1 csv:2 ``. Milvus Lite finds a term in it with ``like``, which it runs
over whole columns; its array functions go row by row and take ten times as long. Servers before 2.5 know ``like`` for
prefixes only, so there `terms` holds the tokens' hashes and, as negative numbers, the bits of the document's length, so
that a few counts give the sum of all lengths.

What is too long for a field is marked, and so is among the candidates of every term: nothing is cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache

LONG = "*"
"""Stands for the words that do not fit; a token is made of letters, digits and underscores."""

MAX_WORDS = 65_535
MAX_TERMS = 4096
LENGTH_BITS = 20
"""Texts and titles of 65,535 bytes each have fewer than 2**20 tokens."""

_LONG_TERM = 0


def counted(frequencies: Mapping[str, int]) -> str:
    """Write tokens with their counts, or `LONG`."""
    text = "".join(f" {term}:{count}" for term, count in frequencies.items()) + " "
    fits = len(text) * 4 <= MAX_WORDS or len(text.encode()) <= MAX_WORDS
    return text if fits else LONG


def frequency(words: str, term: str) -> int:
    """Read a token's count from what `counted` wrote."""
    mark = f" {term}:"
    at = words.find(mark)
    return int(words[at + len(mark) : words.index(" ", at + len(mark))]) if at >= 0 else 0


def hashed(frequencies: Mapping[str, int]) -> list[int]:
    """Write tokens as hashes, and the bits of their number."""
    length = sum(frequencies.values())
    bits = [-1 - bit for bit in range(LENGTH_BITS) if length >> bit & 1]
    if len(frequencies) + LENGTH_BITS > MAX_TERMS:
        return [_LONG_TERM, *bits]
    return [*sorted({_hash(term) for term in frequencies}), *bits]


def in_words(terms: Iterable[str]) -> str:
    """Write that any of the terms may be among a document's words.

    A token's underscore stands for any character in ``like``: the words that come back are to be looked at again.
    """
    likes = [f"words like {json.dumps(f'% {term}:%', ensure_ascii=False)}" for term in terms]
    return f"({' or '.join(['words == ' + json.dumps(LONG), *likes])})"


def in_terms(terms: Iterable[str]) -> str:
    """Write that any of the terms may be among a document's hashes."""
    return f"array_contains_any(terms, {[_LONG_TERM, *(_hash(term) for term in terms)]})"


def has_term(term: str) -> str:
    """Write that a term is among a document's hashes; with `LONG`, that there are too many terms to hold."""
    return f"array_contains(terms, {_LONG_TERM if term == LONG else _hash(term)})"


def has_length_bit(bit: int) -> str:
    """Write that a bit of the document's length is set."""
    return f"array_contains(terms, {-1 - bit})"


@lru_cache(maxsize=2**16)
def _hash(term: str) -> int:
    return 1 + (int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest()) >> 2)
