"""Measurements of an embedding endpoint: each sends probe texts and compares what comes back with what must hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from qvec.embedders.remote.answers import complaint, read_rows
from qvec.embedders.remote.retrying import Retrier, Retries
from qvec.embedders.remote.sending import EMBEDDINGS, Form
from qvec.embedders.remote.transport import Answer, Transport
from qvec.errors import EndpointError
from qvec.types import Vectors

Verdict: TypeAlias = Literal["ok", "note", "fault", "unknown"]

TEXTS = (
    "read a CSV file and return its rows",
    "读取CSV文件",
    "def add(a, b):\n    return a + b\n",
    "The capital of France is Paris.",
    "retry a failed request with exponential back-off",
    "x",
    "Berlin is the capital of Germany, and its largest city by population.",
    "SELECT name FROM people WHERE age > 30 ORDER BY name",
)
LINES = ("first line\n\n    second line\nthird line", "first line      second line third line")
MOST_TEXTS = 512
MOST_WORDS = 16_384
_FIRST_WORDS = 32
_TAILS = (" apple river seven", " cloud stone nine")
# Rows that differ by less than rounding are equal; batches of another size move bfloat16 by some thousandths.
_EQUAL = 1e-6
_BATCH_COSINE = 0.995


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe measured: ``note`` is what qvec copes with, ``fault`` what makes vectors wrong."""

    name: str
    verdict: Verdict
    measured: str
    advice: str = ""


class Prober:
    """Sends probe texts to one model of one endpoint."""

    def __init__(self, transport: Transport, form: Form, width: int, retries: Retries) -> None:
        self.form = form
        self.width = width
        self._transport = transport
        self._retrier = Retrier(retries)

    def ask(self, texts: Sequence[str], form: Form | None = None) -> Answer:
        """Send texts in one request.

        Raises:
            EndpointError: no answer came within the tries.
        """
        body = (form or self.form).body(texts)
        return self._retrier.ask(lambda: self._transport.post(EMBEDDINGS, body), threading.Event())

    def rows(self, texts: Sequence[str], form: Form | None = None) -> Vectors:
        """Embed texts in one request, as the server makes them.

        Raises:
            EndpointError: it gave no vectors.
        """
        answer = self.ask(texts, form)
        if answer.status != 200:
            raise EndpointError(f"HTTP {answer.status}: {complaint(answer)}", status=answer.status)
        return read_rows(answer, len(texts))


def probe_all(prober: Prober) -> list[Finding]:
    """Take every measurement that needs no reference; one that fails is a finding of its own."""
    probes = (probe_encodings, probe_numbers, probe_norm, probe_repeats, probe_order, probe_newlines)
    return [_guarded(probe, prober) for probe in (*probes, probe_dimensions, probe_batch, probe_window)]


def probe_encodings(prober: Prober) -> Finding:
    """Compare base64 with lists of numbers."""
    plain = prober.rows(TEXTS[:2], Form(prober.form.model, base64=False))
    answer = prober.ask(TEXTS[:2], Form(prober.form.model, base64=True))
    if answer.status != 200:
        return Finding(
            "encodings", "note", f"base64 refused with HTTP {answer.status}", "numbers are asked for instead"
        )
    if not isinstance(json.loads(answer.body)["data"][0]["embedding"], str):
        return Finding("encodings", "note", "base64 ignored, numbers answered")
    if np.abs(read_rows(answer, 2) - plain).max() > 1e-3 * np.abs(plain).max():
        return Finding(
            "encodings", "fault", "base64 and numbers give other vectors", "report it to the server's makers"
        )
    return Finding("encodings", "ok", "base64 and numbers, equal")


def probe_numbers(prober: Prober) -> Finding:
    """Look for NaN, infinities and zero rows."""
    bad = [text for text in TEXTS if not _sound(prober.rows([text])[0])]
    if bad:
        advice = "serve the model in bfloat16 or float32: float16 overflows in many"
        return Finding("numbers", "fault", f"NaN, infinity or zero for {len(bad)} of {len(TEXTS)} texts", advice)
    return Finding("numbers", "ok", f"{prober.width} finite components for each of {len(TEXTS)} texts")


def probe_norm(prober: Prober) -> Finding:
    """Measure the vectors' lengths."""
    norms = np.linalg.norm(prober.rows(TEXTS).astype(np.float64), axis=1)
    measured = f"length {norms.min():.4f} to {norms.max():.4f}"
    if not np.isfinite(norms).all():
        return Finding("norm", "unknown", "not finite")
    if np.abs(norms - 1).max() > 1e-2:
        return Finding("norm", "note", f"not normalised: {measured}", "qvec does it; other clients must")
    return Finding("norm", "ok", measured)


def probe_repeats(prober: Prober) -> Finding:
    """Compare a text with itself: asked twice, and alone against among others."""
    together = _unit(prober.rows(TEXTS))
    alone = _unit(np.concatenate([prober.rows([text]) for text in TEXTS]))
    again = _unit(np.concatenate([prober.rows([text]) for text in TEXTS]))
    twice, batched = float((alone * again).sum(1).min()), _best_match(alone, together)
    measured = f"cosine {twice:.5f} asked twice, {batched:.5f} alone against in a batch"
    if min(twice, batched) < _BATCH_COSINE:
        return Finding(
            "repeats", "fault", measured, "vectors depend on chance or neighbours: look at padding and masks"
        )
    return Finding("repeats", "ok", measured)


def probe_order(prober: Prober) -> Finding:
    """Find out whether vectors belong to the texts that their ``index`` names."""
    together = _unit(prober.rows(TEXTS))
    alone = _unit(np.concatenate([prober.rows([text]) for text in TEXTS]))
    nearest = (together @ alone.T).argmax(1)
    wrong = int((nearest != np.arange(len(TEXTS))).sum())
    if wrong:
        advice = "do not use this server: its vectors land on other texts"
        return Finding("order", "fault", f"{wrong} of {len(TEXTS)} vectors belong to another text", advice)
    numbered = [item.get("index") for item in json.loads(prober.ask(TEXTS).body)["data"]]
    if numbered != list(range(len(TEXTS))):
        return Finding("order", "note", "answered out of order, numbered rightly", "qvec sorts by index")
    return Finding("order", "ok", "as sent")


def probe_newlines(prober: Prober) -> Finding:
    """Compare a text with the same text in which spaces stand for newlines."""
    lines, flat = (prober.rows([text])[0] for text in LINES)
    if _distance(lines, flat) <= _EQUAL:
        return Finding(
            "newlines", "note", "a newline reads as a space", "by the server or by the model: --reference tells which"
        )
    return Finding("newlines", "ok", f"they count (distance {_distance(lines, flat):.4f})")


def probe_dimensions(prober: Prober) -> Finding:
    """Ask for half the width."""
    half = max(1, prober.width // 2)
    answer = prober.ask(TEXTS, Form(prober.form.model, prober.form.base64, half))
    if answer.status != 200:
        return Finding("dimensions", "note", f"refused with HTTP {answer.status}", "qvec cuts and normalises itself")
    rows = read_rows(answer, len(TEXTS))
    if rows.shape[1] != half:
        measured = f"asked for {half}, got {rows.shape[1]}"
        return Finding("dimensions", "note", measured, "qvec cuts and normalises itself")
    cut = float((_unit(rows) * _unit(prober.rows(TEXTS)[:, :half])).sum(1).min())
    if cut < _BATCH_COSINE:
        return Finding("dimensions", "note", f"{half} given, which are not the first {half} (cosine {cut:.4f})")
    return Finding("dimensions", "ok", f"{half} given, the first of the {prober.width}")


def probe_batch(prober: Prober) -> Finding:
    """Find how many texts one request may have."""
    taken, refused = _edge(lambda count: prober.ask(["a"] * count).status == 200, 1, MOST_TEXTS, exact=True)
    if refused is None:
        return Finding("batch", "ok", f"{taken} texts in one request, or more")
    return Finding(
        "batch", "note", f"at most {taken} texts in one request", "qvec splits; Limits(batch_texts=) saves tries"
    )


def probe_window(prober: Prober) -> Finding:
    """Find where long texts stop counting, by changing their last words."""
    refusals: list[Answer] = []

    def counts(words: int) -> bool:
        rows = []
        for tail in _TAILS:
            answer = prober.ask(["word " * words + tail])
            if answer.status != 200:
                refusals.append(answer)
                return False
            rows.append(read_rows(answer, 1)[0])
        return _distance(rows[0], rows[1]) > _EQUAL

    seen, beyond = _edge(counts, _FIRST_WORDS, MOST_WORDS, exact=False)
    if beyond is None:
        return Finding("window", "ok", f"the last word of {seen:,} counts")
    if refusals:
        said = f"refused with HTTP {refusals[-1].status} beyond about {seen:,} words: {complaint(refusals[-1])}"
        return Finding("window", "ok", said)
    advice = f"add max_tokens={seen} to the model's name, or serve it so that long texts are refused"
    return Finding("window", "fault", f"cut in silence beyond about {seen:,} words", advice)


def _edge(holds: Callable[[int], bool], first: int, most: int, *, exact: bool) -> tuple[int, int | None]:
    """Double until something fails, then halve the gap: the largest size that held, the smallest that did not."""
    good, size = 0, first
    while size <= most and holds(size):
        good, size = size, size * 2
    if size > most:
        return good, None
    while size - good > (1 if exact else max(1, good // 32)):
        middle = (good + size) // 2
        good, size = (middle, size) if holds(middle) else (good, middle)
    return good, size


def _guarded(probe: Callable[[Prober], Finding], prober: Prober) -> Finding:
    try:
        return probe(prober)
    except EndpointError as exc:
        return Finding(probe.__name__.removeprefix("probe_"), "fault", str(exc), "look into the server's log")


def _best_match(alone: Vectors, together: Vectors) -> float:
    """The least cosine of a text alone with its like in the batch, wherever that landed."""
    return float((alone @ together.T).max(1).min())


def _unit(rows: Vectors) -> Vectors:
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _distance(one: Vectors, other: Vectors) -> float:
    """The distance of two vectors in units of the first one's length."""
    length = float(np.linalg.norm(one.astype(np.float64)))
    return float(np.linalg.norm(one.astype(np.float64) - other.astype(np.float64))) / (length or 1.0)


def _sound(row: Vectors) -> bool:
    return bool(np.isfinite(row).all() and row.any())
