"""Comparing an endpoint with a local copy of its model: how it pools, and whether it sets the end mark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qvec.cli.endpoint_probes import LINES, TEXTS, Finding, Prober
from qvec.types import Vectors

if TYPE_CHECKING:
    from qvec.embedders.model_folder import ModelFolder

_ENDS = ("once", "missing", "twice")
_SAME = 0.999
_ANOTHER_MODEL = 0.95


def probe_reference(prober: Prober, folder: Path) -> list[Finding]:
    """Compare the endpoint's vectors with every way in which the folder's model may be run.

    Raises:
        EmbeddingError: the folder's model cannot be loaded.
        EndpointError: the endpoint gave no vectors.
        MissingDriverError: torch or transformers is not installed.
    """
    from qvec.embedders.loading import require_packages
    from qvec.embedders.model_folder import read_folder

    require_packages()
    model = read_folder(folder)
    ways = run_all_ways(model, (*TEXTS, *LINES))
    served = np.concatenate([prober.rows([text]) for text in (*TEXTS, *LINES)])
    return [_pooling_and_end(model, served, ways), _newlines(model, served, ways)]


def run_all_ways(model: ModelFolder, texts: Sequence[str]) -> dict[tuple[str, str], Vectors]:
    """Embed texts on the CPU: (pooling, how often the end mark stands) -> unit rows."""
    import torch

    from qvec.embedders.loading import load_model
    from qvec.embedders.pooling import POOLINGS
    from qvec.embedders.tokenizing import load_tokenization

    loaded = load_model(model, torch.device("cpu"), torch.float32)
    found: dict[tuple[str, str], list[Vectors]] = {(pool, end): [] for pool in POOLINGS for end in _ENDS}
    for ids in load_tokenization(model)(texts):
        for end, taken in zip(_ENDS, (ids, ids[:-1] or ids, [*ids, ids[-1]]), strict=True):
            with torch.inference_mode():
                hidden = loaded(input_ids=torch.tensor([taken])).last_hidden_state
                mask = torch.ones(hidden.shape[:2], dtype=torch.int64)
                for pool, reduce in POOLINGS.items():
                    found[pool, end].append(reduce(hidden, mask).numpy()[0])
    return {way: np.stack(rows) for way, rows in found.items()}


def _pooling_and_end(model: ModelFolder, served: Vectors, ways: dict[tuple[str, str], Vectors]) -> Finding:
    agreement = {way: _agreement(served, rows) for way, rows in ways.items()}
    right = (model.pooling, "once")
    best = max(agreement, key=lambda way: agreement[way])
    expected = agreement.get(right, 0.0)
    measured = f"cosine {expected:.5f} with {model.pooling} pooling and one end mark, as {model.path.name} has it"
    if best == right and expected >= _ANOTHER_MODEL:
        return Finding("pooling", "ok", measured)
    if expected >= _SAME and agreement[best] - expected < 1e-3:
        return Finding("pooling", "ok", measured)
    if agreement[best] < _ANOTHER_MODEL:
        advice = "another model, other weights, or a prompt that the server adds"
        return Finding("pooling", "fault", f"{measured}; no other way fits either", advice)
    pool, end = best
    wrong = [f"pools by {pool}, not {model.pooling}"] if pool != model.pooling else []
    wrong += [f"end mark {end}"] if end != "once" else []
    advice = "set the server's pooling" if pool != model.pooling else "give the server a tokenizer that sets it once"
    return Finding("pooling", "fault", f"{' and '.join(wrong)} (cosine {agreement[best]:.5f}); {measured}", advice)


def _newlines(model: ModelFolder, served: Vectors, ways: dict[tuple[str, str], Vectors]) -> Finding:
    own = ways[model.pooling or "last", "once"]
    told_apart_here, told_apart_there = (float(np.abs(rows[-1] - rows[-2]).max()) > 1e-6 for rows in (own, served))
    if told_apart_here == told_apart_there:
        how = "count" if told_apart_here else "read as spaces"
        return Finding("newlines", "ok", f"they {how}, as in the model itself")
    return Finding(
        "newlines", "fault", "the model tells a newline from a space, the server does not", "it swallows newlines"
    )


def _agreement(served: Vectors, rows: Vectors) -> float:
    """The mean cosine, over as many components as the server gives."""
    cut = rows[:, : served.shape[1]]
    lengths = np.linalg.norm(served, axis=1) * np.linalg.norm(cut, axis=1)
    return float(((served * cut).sum(1) / np.where(lengths > 0, lengths, 1)).mean())
