"""Cut the standard library's source into functions and classes: what a user who indexes code would search."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from benchmarks.bundled_model.evaluation import DEPTH, Task, dense_run, fused_run, lexical_run
from benchmarks.bundled_model.packages import HELD_MODULES
from benchmarks.bundled_model.places import ROOM, Row, read_rows, share, shared_data
from qvec.code import documents_from_path, title_of
from qvec.code.summary import summary_of
from qvec.embedders.bundled import BundledEmbedder
from qvec.fusion import FusionSpec
from qvec.lexical_weight import weighed
from qvec.translation import with_english
from qvec.types import Document

_TWINS = {"os": {"os", "posixpath", "genericpath"}, "datetime": {"datetime", "_pydatetime"}, "io": {"io", "_pyio"}}
_TWINS |= {"decimal": {"decimal", "_pydecimal"}, "collections": {"collections", "_collections_abc"}}
_SKIPPED = ("test", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "turtledemo", "pydoc_data")
CLASS_LINES = 40


def functions() -> tuple[list[str], list[str]]:
    """Read every function and class of the running Python's library.

    Returns:
        Qualified names; and source texts with docstrings, of a class the first lines, each under its path and name
        as `qvec.code` titles its documents.
    """
    names: list[str] = []
    texts: list[str] = []
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root)
        if any(part.startswith(_SKIPPED) for part in file.parts):
            continue
        source = path.read_text(encoding="utf-8", errors="replace")
        summary = summary_of(source, "python")
        module = _module(file)
        for name, text in _cut(source):
            names.append(f"{module}.{name}")
            texts.append(f"{title_of(file.as_posix(), name, summary)}\n{text}")
    return names, texts


def _cut(source: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    lines = source.splitlines()
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, owner = pending.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{owner}{child.name}."))
                end = min(child.end_lineno or 0, child.lineno + CLASS_LINES)
                yield owner + child.name, "\n".join(lines[child.lineno - 1 : end])
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield owner + child.name, "\n".join(lines[child.lineno - 1 : child.end_lineno])
            elif isinstance(child, ast.If | ast.Try):
                pending.append((child, owner))


def source_tasks() -> list[Task]:
    """Ask pyhow_zh's queries over the source; those answered by C code alone are left out."""
    names, texts = functions()
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        places[name.split(".")[0], name.rpartition(".")[2]].append(i)
    grades: dict[str, dict[int, int]] = defaultdict(dict)
    held: set[str] = set()
    for row in read_rows(shared_data() / "pyhow_zh" / "qrels.jsonl.gz"):
        root, last = row["doc_id"].split(".")[0], row["doc_id"].rpartition(".")[2]
        if share(root, HELD_MODULES[0]) < HELD_MODULES[1]:
            held.add(row["query_id"])
        for twin in _TWINS.get(root, {root}):
            for i in places.get((twin, last), []):
                grades[row["query_id"]][i] = max(int(row["score"]), grades[row["query_id"]].get(i, 0))
    rows = [r for r in read_rows(shared_data() / "pyhow_zh" / "queries.jsonl.gz") if r["id"] in grades]
    return [
        task
        for language in ("en", "zh")
        for task in (
            _task(f"pyhow_source/{language}", texts, [r for r in rows if r["lang"] == language], grades),
            _task(
                f"pyhow_source_held/{language}",
                texts,
                [r for r in rows if r["lang"] == language and r["id"] in held],
                grades,
            ),
        )
    ]


def _task(name: str, texts: list[str], rows: list[Row], grades: dict[str, dict[int, int]]) -> Task:
    return Task(name, texts, [row["text"] for row in rows], [grades[row["id"]] for row in rows])


def ten() -> list[Row]:
    """Answer the ten queries over the library as ``qvec index`` cuts it, by vectors alone and as a search does.

    A class is found where the piece that begins it is. Right ones under `judged_later` were not on the list that was
    written beforehand.

    Returns:
        For each the first three names that a search gives, the first right one's rank there, and its rank by vectors.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = documents_from_path(root, exclude=[f"{name}*/" for name in _SKIPPED])
    documents = [each for each in found if isinstance(each, Document)]
    names = [_names(each) for each in documents]
    texts = [each.searchable_text for each in documents]
    model = BundledEmbedder()
    asked = list(read_rows(ROOM / "ten_queries.jsonl"))
    task = Task("ten", texts, [row["text"] for row in asked], [])
    dense = dense_run(model.encode_query(task.queries), model.encode_document(texts))
    lexical = lexical_run(replace(task, queries=list(map(with_english, task.queries))))
    hybrid = fused_run(task, dense, lexical, lambda query: weighed(FusionSpec(), query, free=True))
    rows: list[Row] = []
    for row, near, hits in zip(asked, dense, hybrid, strict=True):
        right = set(row["right"]) | set(row.get("judged_later", ()))
        ranks = [_first_right([names[i] for i, _ in run], right) for run in (hits, near)]
        first = [names[i][0] for i, _ in hits[:3]]
        rows.append({"kind": "ten", "text": row["text"], "first": first, "rank": ranks[0], "vectors": ranks[1]})
    return rows


def _names(document: Document) -> list[str]:
    """Name what a piece defines as a program would."""
    module = _module(Path(str(document.metadata["path"])))
    symbols = str(document.metadata["symbol"])
    return [f"{module}.{symbol.removesuffix('.__init__')}" for symbol in symbols.split(", ")] if symbols else [module]


def _module(file: Path) -> str:
    return file.as_posix().removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _first_right(found: Sequence[Sequence[str]], right: Set[str]) -> int | None:
    return next((rank for rank, names in enumerate(found[:DEPTH], 1) if right.intersection(names)), None)
