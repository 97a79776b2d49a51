"""Giving a live collection the vectors of another model or dim, with no downtime, and a way back.

A shadow is filled beside the collection, `SwapJob.shadow`, or a second form beside an attached index's first; then the
two trade places. What is written meanwhile is followed: in a collection of qvec's by passes over its records
(`qvec.migrate.following`), for an attached table by the shadow's own trigger and queue, in an attached index as an
attach does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.swap_recall import recall
from qvec.migrate.swap_side import Side
from qvec.migrate.swap_sides import open_side

Way: TypeAlias = Literal["switch", "fill", "back", "end"]
_PASSES = 5
_ENOUGH = 64


@dataclass(slots=True)
class SwapReport:
    """What a swap did.

    Attributes:
        is_switched: whether the collection's name leads to the new vectors.
        records: of the collection.
        followed: records brought over in this run, the first filling included.
        recall: of the new index at 10 against an exact search; None where it was not measured.
        model: whose vectors the collection has now.
        dim: of them.
        seconds: wall time.
    """

    is_switched: bool = False
    records: int = 0
    followed: int = 0
    recall: float | None = None
    model: str = ""
    dim: int = 0
    seconds: float = 0.0


def swap(job: SwapJob, *, switch: bool = True, progress: Callable[[CopyProgress], None] | None = None) -> SwapReport:
    """Fill a shadow with the new model's vectors, measure its recall, and let it take the collection's place.

    The collection is read and written all the while. Broken off, a second run goes on; run again when it was done, it
    brings over what is left in the old vectors.

    Args:
        job: the collection, and what it is to have.
        switch: exchange the names at the end; else stop before, and do so in a later run.
        progress: called after each batch.

    Raises:
        MigrationError: the recall is too low, another collection has the shadow's name, a record is too long for the
            new model, or the collection is at work already.
        UnsupportedError: the database cannot exchange names.
        CollectionNotFoundError: it is not there.
    """
    started = time.monotonic()
    report = SwapReport()
    with open_side(job) as side:
        if not side.is_switched():
            report.followed += side.prepare(progress)
            _settle(side, report, into_shadow=True, progress=progress)
            report.recall = _checked(side, job, progress)
            if switch:
                side.exchange()
        if side.is_switched():
            _settle(side, report, into_shadow=False, progress=progress)
        _describe(side, report)
    report.seconds = time.monotonic() - started
    return report


def plan_swap(job: SwapJob, *, way: Way = "switch") -> list[str]:
    """Write the statements that would be sent, and in words what lies between them; nothing is changed.

    Args:
        job: as for `swap`.
        way: ``"switch"`` for `swap`, ``"fill"`` for it without the exchange, ``"back"`` for `roll_back`, ``"end"`` for
            `end_swap`.

    Raises:
        QvecError: as these say.
    """
    with open_side(job) as side:
        if way == "end":
            return side.dropping()
        if way == "back":
            return ["bring over what was written since", *side.exchange_steps()]
        if way == "fill":
            return side.preparation()
        check = f"refuse when less than {job.least_recall:.0%} of the exact neighbours are found at 10"
        return [*side.preparation(), f"bring over what is written meanwhile; {check}", *side.exchange_steps()]


def roll_back(job: SwapJob, *, progress: Callable[[CopyProgress], None] | None = None) -> SwapReport:
    """Give the collection its old vectors back, brought up to date; the new ones stay as the shadow.

    Broken off, a second run goes on.

    Args:
        job: as it was given to `swap`.
        progress: called after each batch.

    Raises:
        MigrationError: nothing was swapped, or `end_swap` has dropped the old vectors.
    """
    started = time.monotonic()
    report = SwapReport()
    with open_side(job) as side:
        if not side.has_shadow() or not (side.is_switched() or side.was_switched_back()):
            raise MigrationError(f"{job.collection!r} was not swapped, or its old vectors are dropped")
        if side.is_switched():
            _settle(side, report, into_shadow=True, progress=progress)
            side.exchange()
        _settle(side, report, into_shadow=False, progress=progress)
        _describe(side, report)
    report.seconds = time.monotonic() - started
    return report


def end_swap(job: SwapJob) -> None:
    """Drop the shadow: after the exchange the old vectors, before it the new ones.

    Raises:
        MigrationError: no swap is open.
    """
    with open_side(job) as side:
        if not side.has_shadow():
            raise MigrationError(f"no swap of {job.collection!r} is open")
        side.drop_shadow()


def _settle(
    side: Side, report: SwapReport, *, into_shadow: bool, progress: Callable[[CopyProgress], None] | None
) -> None:
    """Follow until little is left; after the exchange until nothing is, for then nobody writes to the shadow."""

    def told(state: CopyProgress) -> None:
        if progress:
            progress(replace(state, step=state.step or "looked through for changes"))

    for _ in range(_PASSES):
        followed = side.follow(into_shadow=into_shadow, progress=told)
        report.followed += followed
        if followed <= (_ENOUGH if into_shadow else 0):
            return


def _checked(side: Side, job: SwapJob, progress: Callable[[CopyProgress], None] | None) -> float:
    found = recall(*side.measured(), progress=progress)
    if found < job.least_recall:
        raise MigrationError(
            f"the new index of {job.collection!r} finds {found:.1%} of the exact neighbours, "
            f"not {job.least_recall:.1%}: the old one stays. Give a lower least_recall, or end the swap"
        )
    return found


def _describe(side: Side, report: SwapReport) -> None:
    spec = side.adapter.describe_collection(side.collection)
    report.is_switched = side.is_switched()
    report.records = side.adapter.count(side.collection)
    report.model, report.dim = spec.passport.model_id if spec.passport else "", spec.dim
