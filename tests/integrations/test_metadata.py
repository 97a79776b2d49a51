"""What a framework puts into metadata comes back as it was, and filters can see it."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from qvec.errors import InvalidInputError
from qvec.filters import Compare, Op, matches
from qvec.integrations.metadata import NOTES, notes_of, pack, unpack

EAST = timezone(timedelta(hours=8))
ODD = {
    "none": None,
    "day": date(2024, 2, 29),
    "moment": datetime(2024, 2, 29, 8, 30, tzinfo=EAST),
    "naive": datetime(2024, 2, 29, 8, 30, 1, 5),
    "clock": time(8, 30),
    "price": Decimal("1.10"),
    "key": UUID(int=7),
    "raw": b"\x00\xff",
    "pair": (1, date(2024, 1, 1)),
    "tags": {"a", "b"},
    "deep": {"a": [{"b": (datetime(2024, 1, 1, tzinfo=UTC), {"c": None})}]},
}


def test_every_kind_comes_back_as_it_was():
    assert unpack(json.loads(json.dumps(pack(ODD)))) == ODD


def test_plain_metadata_is_left_alone():
    plain = {"a": 1, "b": [1.5, "x", None, {"c": True}], "it's 读": "ok"}
    assert pack(plain) == plain
    assert unpack(plain) == plain


def test_dates_are_compared_as_dates():
    packed = pack(ODD)
    assert matches(Compare("moment", Op.EQ, datetime(2024, 2, 29, 0, 30, tzinfo=UTC)), packed)
    assert matches(Compare("day", Op.GT, "2024-02-28"), packed)


def test_notes_are_kept_out_of_sight():
    packed = pack({"a": date(2024, 1, 1)}, {"order": 3})
    assert notes_of(packed)["order"] == 3
    assert unpack(packed) == {"a": date(2024, 1, 1)}


@pytest.mark.parametrize("metadata", [{"a": object()}, {"a": {1: 2}}, {"a": [math.sin]}, {NOTES: 1}])
def test_what_cannot_be_kept_is_refused(metadata):
    with pytest.raises(InvalidInputError, match="metadata"):
        pack(metadata)
