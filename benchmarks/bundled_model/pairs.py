"""Build the training pairs and the held-out packages' evaluation set from the extracted functions and aligned texts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from benchmarks.bundled_model.forbidden import Forbidden, code_key, first_sentence, load_forbidden, text_key
from benchmarks.bundled_model.places import Row, cache, read_rows, shared_data, write_rows
from benchmarks.bundled_model.remarks import without_chinese

SAME_TEXT = 3
HELD_EACH = 300
LEAST_WORDS = 3
_HAN = re.compile(r"[\u4e00-\u9fff]")
_WORDS = re.compile(r"[A-Za-z]{2,}")
_NOISE = re.compile(r"`{1,2}|:\w+:|\*\*|[|_]{2,}|<[^>]{1,20}>")
ALIGNED = ("pairs_pydocs_enzh", "pairs_django_enzh", "pairs_mddocs_enzh", "pairs_jupyter_enzh", "pairs_tldr_enzh")


def build() -> None:
    """Write pairs.jsonl.gz (training), held.jsonl.gz (functions of held-out packages) and dropped.jsonl.gz."""
    forbidden = load_forbidden()
    dropped: Counter[str] = Counter()
    candidates = itertools.chain(_functions(), aligned())
    count = write_rows(cache() / "pairs.jsonl.gz", admitted(candidates, forbidden, dropped))
    held = write_rows(cache() / "held.jsonl.gz", _held(forbidden))
    write_rows(cache() / "dropped.jsonl.gz", [{"task": task, "rows": rows} for task, rows in dropped.items()])
    print(f"{count} pairs, {held} held-out functions, dropped for contamination: {dict(dropped)}")


def admitted(candidates: Iterable[Row], forbidden: Forbidden, dropped: Counter[str]) -> Iterator[Row]:
    """Pass on the pairs that repeat no evaluation text or code, each text a few times at most.

    Args:
        candidates: pairs.
        forbidden: what they may not contain.
        dropped: counts the refused pairs of each task.
    """
    seen: Counter[str] = Counter()
    for row in candidates:
        if forbidden.hits(row):
            dropped[row["task"]] += 1
            continue
        mark = row["task"] + text_key(row["q"])
        other = code_key(row["c"]) if "c" in row else text_key(row["d"])
        seen[mark] += 1
        seen[f"{mark}\n{other}"] += 1
        if seen[mark] <= SAME_TEXT and seen[f"{mark}\n{other}"] == 1:
            yield row


def aligned() -> Iterator[Row]:
    """Read the candidates among the shared aligned texts; rows that their notices set apart are left out."""
    for row in read_rows(shared_data() / "pairs_zhcode" / "pairs.jsonl.gz"):
        query = _clean(row["zh"])
        if 2 <= len(query) <= 200:
            yield {"task": "zh_code", "q": query, "c": row["code"][:1400], "h": "", "r": "", "g": row["repo"]}
    for name in ALIGNED:
        for row in read_rows(shared_data() / name / "pairs.jsonl.gz"):
            if not row.get("eval") and not row.get("held_mod"):
                yield {"task": "zh_en", "q": row["zh"][:300], "d": row["en"][:600], "g": name}


def _functions() -> Iterator[Row]:
    for row in read_rows(cache() / "functions.jsonl.gz"):
        if not row["held"]:
            yield from _function_pairs(row)


def _function_pairs(row: Row) -> Iterator[Row]:
    summary = _clean(first_sentence(row["doc"]))
    rest = _clean(row["doc"])[len(summary) :][:300]
    header = f"{row['module']}.{row['name']}"
    common = {"c": row["code"], "h": header, "r": rest, "g": row["module"], "doc": row["doc"]}
    if _HAN.search(summary):
        bare = without_chinese(row["code"])
        if len(_HAN.findall(summary)) >= 2 and len(summary) <= 200 and len(_WORDS.findall(bare)) >= LEAST_WORDS:
            task = "zh_lines" if row["kind"] == "Comment" else "zh_code"
            yield {"task": task, "q": summary, **common, "c": bare, "r": without_chinese(rest)}
    elif row["kind"] == "Comment":
        yield {"task": "en_lines", "q": summary, **common}
    elif 2 <= len(summary.split()) <= 60:
        yield {"task": "en_code", "q": summary, **common}


def _clean(text: str) -> str:
    return " ".join(_NOISE.sub(" ", text).split())


def _held(forbidden: Forbidden) -> Iterator[Row]:
    """Take documented functions of the packages that training never saw: the summary finds the code without it.

    No package gives more than a few hundred, so that none is the whole set.
    """
    seen: set[str] = set()
    given: Counter[str] = Counter()
    for row in read_rows(cache() / "functions.jsonl.gz"):
        summary = _clean(first_sentence(row["doc"]))
        key = code_key(row["code"])
        if not row["held"] or row["source"] == "stdlib" or row["kind"] in ("ClassDef", "Comment") or key is None:
            continue
        if _HAN.search(row["doc"]) or not 4 <= len(summary.split()) <= 40 or key in forbidden.codes:
            continue
        if text_key(summary) in seen or key in seen:
            continue
        seen.update((text_key(summary), key))
        given[row["source"]] += 1
        if given[row["source"]] > HELD_EACH:
            continue
        yield {"q": summary, "c": row["code"], "h": f"{row['module']}.{row['name']}", "source": row["source"]}
