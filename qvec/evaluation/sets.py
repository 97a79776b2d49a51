"""Judged retrieval sets in a folder: BEIR's files, or the same in JSON lines.

BEIR has ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``; the other form has ``qrels.jsonl`` with
``query_id``, ``doc_id`` and ``score``, and ids under ``id`` instead of ``_id``. Each file may be gzipped.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qvec.errors import ConfigError
from qvec.evaluation.metrics import judged_queries
from qvec.types import TITLE, Document

_HEADER = "query-id"


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Queries with judgements over a corpus.

    Attributes:
        name: the folder's name.
        folder: where the files lie.
        queries: id -> text, of those queries alone that have a relevant document.
        qrels: query id -> document id -> grade.
    """

    name: str
    folder: Path
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]

    def corpus(self) -> Iterator[Document]:
        """Read the documents, one after the other.

        Raises:
            ConfigError: the file is missing or a line of it cannot be read.
        """
        path = _file(self.folder, "corpus.jsonl")
        if path is None:
            raise ConfigError(f"{self.folder} holds no corpus.jsonl or corpus.jsonl.gz")
        for number, row in _rows(path):
            title = row.get("title")
            metadata = {TITLE: title} if isinstance(title, str) and title else {}
            yield Document(_text(row, ("_id", "id"), path, number), _text(row, ("text",), path, number), metadata)

    def sample(self, queries: int, *, seed: int) -> JudgedSet:
        """Keep so many queries, chosen by the seed; all where there are fewer."""
        if len(self.queries) <= queries:
            return self
        kept = sorted(random.Random(seed).sample(sorted(self.queries), queries))
        return replace(
            self,
            queries={query: self.queries[query] for query in kept},
            qrels={query: self.qrels[query] for query in kept},
        )


def read_set(folder: str | Path, *, split: str | None = None) -> JudgedSet:
    """Read a folder's queries and judgements; its corpus is read when it is asked for.

    Args:
        folder: with the files.
        split: the name of a file under ``qrels``, or the ``split`` of the queries to keep; None takes BEIR's ``test``
            where that is there, the only one where there is only one, and in the other form all queries.

    Raises:
        ConfigError: a file is missing or cannot be read, or no query has a relevant document.
    """
    place = Path(folder)
    path = _file(place, "queries.jsonl")
    if path is None:
        raise ConfigError(f"{place} holds no queries.jsonl or queries.jsonl.gz")
    judgements = _qrels_file(place, split)
    read = _tsv_grades(judgements) if ".tsv" in judgements.suffixes else _jsonl_grades(judgements)
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in read:
        qrels.setdefault(query, {})[document] = grade
    judged = set(judged_queries(qrels))
    by_field = split is not None and ".tsv" not in judgements.suffixes
    queries = {
        identity: _text(row, ("text",), path, number)
        for number, row in _rows(path)
        if (identity := _text(row, ("_id", "id"), path, number)) in judged
        and (not by_field or row.get("split") == split)
    }
    if not queries:
        raise ConfigError(f"{judgements} judges no query of {path}" + (f" in the split {split!r}" if by_field else ""))
    return JudgedSet(place.resolve().name, place, queries, {query: qrels[query] for query in queries})


def _qrels_file(folder: Path, split: str | None) -> Path:
    found = {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path
        for path in sorted((folder / "qrels").glob("*.tsv*"))
        if path.name.endswith((".tsv", ".tsv.gz"))
    }
    if found:
        chosen = split or ("test" if "test" in found else next(iter(found)) if len(found) == 1 else None)
        if chosen not in found:
            raise ConfigError(f"{folder / 'qrels'} holds {', '.join(found)}: choose one as the split")
        return found[chosen]
    path = _file(folder, "qrels.jsonl")
    if path is None:
        raise ConfigError(f"{folder} holds no qrels/*.tsv and no qrels.jsonl")
    return path


def _tsv_grades(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, line in _lines(path):
        fields = line.rstrip("\r\n").split("\t")
        if number == 1 and fields[0] == _HEADER:
            continue
        # TREC's own files have a constant between the two ids.
        columns = [fields[0], *fields[2:]] if len(fields) == 4 else fields
        try:
            query, document, grade = columns
            yield query, document, int(grade)
        except ValueError as exc:
            raise ConfigError(f"{path}, line {number}: takes a query's id, a document's id and a whole number") from exc


def _jsonl_grades(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, row in _rows(path):
        grade = row.get("score", 1)
        if isinstance(grade, bool) or not isinstance(grade, int):
            raise ConfigError(f"{path}, line {number}: the score {grade!r} is no whole number")
        yield _text(row, ("query_id",), path, number), _text(row, ("doc_id",), path, number), grade


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise ConfigError(f"{path}, line {number} is no JSON: {exc}") from exc
        if not isinstance(row, dict):
            raise ConfigError(f"{path}, line {number} is no JSON object")
        yield number, row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc


def _text(row: Mapping[str, object], names: tuple[str, ...], path: Path, number: int) -> str:
    value = next((row[name] for name in names if name in row), None)
    if not isinstance(value, str):
        raise ConfigError(f"{path}, line {number}: {names[-1]} is {value!r}, not a string")
    return value
