"""Figures as a picture: against dim where several were measured, else as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qvec.errors import ConfigError, InvalidInputError, MissingDriverError
from qvec.evaluation.grid import Row

SUFFIXES = (".png", ".svg")
_MARKS = "os^Dvx+*"


def check_picture(path: Path) -> None:
    """Check that a picture can be written, before anything is measured for it.

    Raises:
        ConfigError: the name does not end in .png or .svg, or its folder is not there.
        MissingDriverError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"a picture's name ends in {' or '.join(SUFFIXES)}, not {path.suffix!r}")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder: make it first")
    _figure_class()


def draw(rows: Sequence[Row], metric: str, path: Path) -> None:
    """Draw one metric of all rows, one panel a set.

    Args:
        rows: as `qvec.evaluation.grid.evaluate` yields them.
        metric: such as ``"ndcg@10"``.
        path: to write to, as PNG or SVG by its name.

    Raises:
        InvalidInputError: no rows, or the metric was not measured.
        ConfigError: the picture cannot be written.
        MissingDriverError: matplotlib is not installed.
    """
    if not rows or metric not in rows[0].figures:
        raise InvalidInputError(f"{metric} was not measured: {', '.join(rows[0].figures) if rows else 'nothing was'}")
    sets = list(dict.fromkeys(row.set for row in rows))
    figure = _figure_class()(figsize=(6.4 * len(sets), 4.8), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        chosen = [row for row in rows if row.set == name]
        if len({row.dim for row in chosen}) > 1:
            _lines(panel, chosen, metric)
        else:
            _bars(panel, chosen, metric)
        panel.set_title(f"{name}: {chosen[0].queries:,} queries, {chosen[0].documents:,} documents")
    try:
        figure.savefig(path)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc}") from exc


def _lines(panel: Any, rows: Sequence[Row], metric: str) -> None:
    places = list(dict.fromkeys((row.backend, row.model) for row in rows))
    modes = list(dict.fromkeys(row.mode for row in rows))
    for first in {_label(row): row for row in rows}.values():
        points = sorted((row.dim, row.figures[metric]) for row in rows if _label(row) == _label(first))
        # Databases agree so well that their lines hide one another: the hollow marks of all can be seen.
        panel.plot(
            [dim for dim, _ in points],
            [figure for _, figure in points],
            color=f"C{modes.index(first.mode)}",
            marker=_MARKS[places.index((first.backend, first.model)) % len(_MARKS)],
            markerfacecolor="none",
            markersize=9,
            label=_label(first),
        )
    panel.set_xlabel("dim")
    panel.set_ylabel(metric)
    panel.set_xticks(sorted({row.dim for row in rows}))
    panel.set_ylim(0, 1)
    panel.legend()


def _bars(panel: Any, rows: Sequence[Row], metric: str) -> None:
    labels = [_label(row) for row in rows]
    bars = panel.barh(range(len(rows)), [row.figures[metric] for row in rows])
    panel.bar_label(bars, fmt="%.3f", padding=3)
    panel.set_yticks(range(len(rows)), labels)
    panel.invert_yaxis()
    panel.set_xlabel(metric)
    panel.set_xlim(0, 1.1)


def _label(row: Row) -> str:
    # What matplotlib reads as the start of a formula.
    return f"{row.backend}, {row.model}, {row.mode}".replace("$", r"\$")


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingDriverError("matplotlib", "eval") from exc
    return Figure
