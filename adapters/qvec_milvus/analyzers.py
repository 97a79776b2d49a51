"""Milvus' own analyzers: in the BM25 function of a server, on Lite as the functions that Lite cuts texts with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import TypeAlias

from qvec.checks import check_analyzer
from qvec.errors import UnsupportedError
from qvec.lexical import tokens
from qvec_milvus.connection import Connection

Cut: TypeAlias = Callable[[str], list[str]]

_OF_SERVERS = ("chinese", "english", "standard")
# A server's chinese is jieba's words without what is neither Chinese nor a letter or digit; Lite 3.2 knows jieba alone.
_OF_LITE = {"chinese": "jieba", "standard": "standard"}


def names(connection: Connection) -> tuple[str, ...]:
    """Name the analyzers that new collections may take."""
    if connection.is_lite:
        return tuple(name for name in _OF_LITE if name != "chinese" or find_spec("jieba") is not None)
    return _OF_SERVERS if connection.keywords == "function" else ()


def check(connection: Connection, analyzer: str, database: str) -> None:
    """Check that new collections may take an analyzer.

    Raises:
        UnsupportedError: another Milvus has it.
        InvalidInputError: none has.
    """
    known = names(connection)
    if analyzer not in known and (not known or analyzer in _OF_SERVERS):
        here = f"has {', '.join(known)}" if known else "has none"
        also = '; chinese comes with pip install "milvus-lite[chinese]"' if connection.is_lite else ""
        raise UnsupportedError(
            f"{database} {here}: the analyzer {analyzer!r} needs a Milvus server of 2.5 or later{also}"
        )
    check_analyzer(analyzer, known, database)


@lru_cache(maxsize=8)
def cutter(analyzer: str | None) -> Cut:
    """Return what cuts the texts and queries of a collection whose words are counted here."""
    if analyzer is None:
        return tokens
    from milvus_lite.analyzer import create_analyzer

    made = create_analyzer({"tokenizer": _OF_LITE[analyzer]})
    # jieba tells of its loading, which it puts off until the first text.
    logging.getLogger("jieba").setLevel(logging.WARNING)
    return lambda text: [word for word in made.tokenize(text) if any(map(str.isalnum, word))]
