"""How much the keyword leg counts beside the dense leg, by what the query looks like."""

from __future__ import annotations

import re

_ASCII_WORD = re.compile(r"[A-Za-z]{2,}")


def lexical_weight(query: str) -> float:
    """Weigh the lexical leg for a query; the dense leg weighs 1.

    A query in another script than ASCII shares few keywords with code and English text, so its keywords count less.
    """
    if query.isascii():
        return 1.0
    return 0.3 if _ASCII_WORD.search(query) else 0.1
