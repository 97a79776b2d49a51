"""A collection's spec as JSON, the form in which adapters keep it in their databases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from qvec.types import CollectionSpec, IndexSpec, Metric, Passport


def spec_to_json(spec: CollectionSpec) -> str:
    """Write a spec, passport included; `spec_from_form` reads it back."""
    return json.dumps(asdict(spec), ensure_ascii=False)


def passport_mark(passport: Passport | None) -> str:
    """Shorten a passport to 16 hexadecimal digits, to mark in a database what belongs to one model."""
    written = json.dumps(asdict(passport) if passport else None, sort_keys=True)
    return hashlib.blake2b(written.encode(), digest_size=8).hexdigest()


def spec_from_form(form: Mapping[str, Any]) -> CollectionSpec:
    """Read a spec from its parsed JSON; keys that are not a spec's are passed over."""
    passport = form["passport"]
    return CollectionSpec(
        name=form["name"],
        dim=form["dim"],
        metric=Metric(form["metric"]),
        index=IndexSpec(**form["index"]),
        passport=Passport(**passport) if passport else None,
        analyzer=form.get("analyzer"),
    )
