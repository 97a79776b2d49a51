"""What is known of models by their names, because an endpoint does not tell it: prompts and windows."""

from __future__ import annotations

import re

from qvec.embedders.instructions import DEFAULT_PRESET, PRESETS, QWEN3_QUERY, TASK, Prompts

# From the models' cards; prompts matter to quality, and nothing an endpoint answers tells them.
_PROMPTS = (
    (re.compile(r"qwen3-embedding", re.IGNORECASE), Prompts(QWEN3_QUERY, task=PRESETS[DEFAULT_PRESET])),
    (
        re.compile(r"e5-large-instruct|e5-mistral", re.IGNORECASE),
        Prompts(f"Instruct: {TASK}\nQuery: ", task=PRESETS[DEFAULT_PRESET]),
    ),
    (re.compile(r"\be5-(small|base|large)", re.IGNORECASE), Prompts("query: ", "passage: ")),
    (re.compile(r"nomic-embed-text", re.IGNORECASE), Prompts("search_query: ", "search_document: ")),
    (
        re.compile(r"bge-(small|base|large)-en-v1\.5", re.IGNORECASE),
        Prompts("Represent this sentence for searching relevant passages: "),
    ),
)
_WINDOWS = ((re.compile(r"text-embedding-(3-(small|large)|ada-002)"), 8192),)


def known_prompts(model: str) -> Prompts:
    """Return the prompts of a model by its name; none where it is not known."""
    return next((prompts for pattern, prompts in _PROMPTS if pattern.search(model)), Prompts())


def known_window(model: str) -> int | None:
    """Return the window of a model by its name, in tokens; None where it is not known."""
    return next((window for pattern, window in _WINDOWS if pattern.fullmatch(model)), None)
