"""Some of many, every one as likely as another, in one walk."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def reservoir(items: Iterable[Item], size: int, dice: Random) -> list[Item]:
    """Choose `size` items of however many there are, or all of fewer (reservoir sampling, Vitter 1985)."""
    kept: list[Item] = []
    for seen, item in enumerate(items, 1):
        if len(kept) < size:
            kept.append(item)
        elif (place := dice.randrange(seen)) < size:
            kept[place] = item
    return kept
