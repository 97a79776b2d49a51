"""Tokenised training texts and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.bundled_model.places import cache, read_rows
from qvec.embedders.instructions import PRESETS, QWEN3_QUERY, TASK

Ids = NDArray[np.uint16]
END = np.zeros(1, np.uint16)
DEFAULT_TASK = "code_search"
OTHER_TASKS = 0.15
MAX_QUERY = 48
MAX_DOCUMENT = 300
# Web questions wrap the same words in these; a summary in a docstring never has them.
FRAMES = (
    "how to {}",
    "python {}",
    "python how to {}",
    "{} python",
    "{} in python",
    "how to {} in python",
    "how do i {}",
)
FRAMES_ZH = ("如何{}", "怎么{}", "Python{}", "怎样{}", "用python{}", "{}的方法", "{}函数")
# Three tasks have queries rendered in Chinese: the function without its docstring or with it, or the docstring alone.
TASKS = {
    "en_code": 0.28, "zh_code": 0.17, "zh_lines": 0.09, "en_lines": 0.1, "zh_en": 0.08, "en_self": 0.11,
    "made_code": 0.09, "made_self": 0.05, "made_en": 0.03,
}  # fmt: skip
PAIRED = {"en_self": "en_code", "made_self": "made_code", "made_en": "made_code"}


class Ragged:
    """Hold many short id lists as one array."""

    def __init__(self, lists: Sequence[Sequence[int]]) -> None:
        self.starts = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=self.starts[1:])
        self.ids = np.fromiter((i for ids in lists for i in ids), np.uint16, int(self.starts[-1]))

    def __getitem__(self, row: int) -> Ids:
        return self.ids[self.starts[row] : self.starts[row + 1]]

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Pair queries with documents: ids laid end to end, lengths, and which other pairs are the same text."""

    task: str
    queries: torch.Tensor
    query_lengths: torch.Tensor
    documents: torch.Tensor
    document_lengths: torch.Tensor
    same: torch.Tensor


def tokenise() -> None:
    """Write tokens.pt: every training text as token ids, by task and part."""
    tokenizer = Tokenizer.from_file(str(cache() / "tokenizer.json"))
    noisy = Tokenizer.from_file(str(cache() / "tokenizer.json"))
    noisy.model.dropout = 0.12
    rows: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(cache() / "pairs.jsonl.gz"):
        rows.setdefault(row["task"], []).append(row)
    stored: dict[str, dict[str, Ragged]] = {}
    for task, pairs in rows.items():
        parts = {"q": _encode(tokenizer, pairs, "q"), "q2": _encode(noisy, pairs, "q")}
        for part in ("d", "h", "r", "c"):
            if part in pairs[0]:
                parts[part] = _encode(tokenizer, pairs, part)
        stored[task] = parts
        print(task, len(pairs), {part: round(len(r.ids) / len(r), 1) for part, r in parts.items()})
    stored["made_code"] = rendered(stored["en_code"], tokenizer, noisy)
    torch.save(stored, cache() / "tokens.pt")


def rendered(english: Mapping[str, Ragged], tokenizer: Tokenizer, noisy: Tokenizer) -> dict[str, Ragged]:
    """Pair the queries rendered in Chinese with the parts of the English pairs they came from; `d` is the English."""
    made = list(read_rows(cache() / "rendered.jsonl.gz"))
    parts = {"q": _encode(tokenizer, made, "q"), "q2": _encode(noisy, made, "q")}
    for name, part in (("d", "q"), ("h", "h"), ("r", "r"), ("c", "c")):
        parts[name] = Ragged([english[part][row["row"]].tolist() for row in made])
    return parts


def _encode(tokenizer: Tokenizer, rows: Sequence[dict[str, str]], part: str) -> Ragged:
    encoded = tokenizer.encode_batch_fast([row[part] for row in rows], add_special_tokens=False)
    return Ragged([e.ids[:300] for e in encoded])


class Sampler:
    """Draw batches, one task each, the same ones for the same seed."""

    def __init__(
        self,
        *,
        seed: int,
        size: int,
        longest: int = MAX_DOCUMENT,
    ) -> None:
        self.longest = longest
        self.parts: dict[str, dict[str, Ragged]] = torch.load(cache() / "tokens.pt", weights_only=False)
        self.random = np.random.default_rng(seed)
        self.size = size
        self.tokenizer = Tokenizer.from_file(str(cache() / "tokenizer.json"))
        self.prompt = self._ids(QWEN3_QUERY.replace(TASK, PRESETS[DEFAULT_TASK]))
        self.prompts = [self._ids(QWEN3_QUERY.replace(TASK, task)) for task in PRESETS.values()]
        self.frames = [self._frame(frame) for frame in FRAMES]
        self.frames_zh = [self._frame(frame) for frame in FRAMES_ZH]
        self.orders: dict[str, NDArray[np.int64]] = {}

    def _ids(self, text: str) -> Ids:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.uint16)

    def _any_prompt(self) -> Ids:
        """Mostly the default instruction, so that the others change little but are not strange to the model."""
        if self.random.random() < OTHER_TASKS:
            return self.prompts[int(self.random.integers(len(self.prompts)))]
        return self.prompt

    def _frame(self, frame: str) -> tuple[Ids, Ids]:
        before, after = frame.split("{}")
        return self._ids(before), self._ids(after)

    def draw(self, task: str | None = None) -> Batch:
        """Draw the next batch; half of the code batches hold neighbours from one file, each other's hard negatives."""
        if task is None:
            shares = np.array(list(TASKS.values()))
            task = str(self.random.choice(list(TASKS), p=shares / shares.sum()))
        rows = self._rows(PAIRED.get(task, task))
        pairs = [self._pair(task, int(row)) for row in rows]
        queries = [np.concatenate([self._any_prompt(), q[:MAX_QUERY], END]) for q, _ in pairs]
        documents = [np.concatenate([d[: self.longest], END]) for _, d in pairs]
        same = _same([q.tobytes() for q, _ in pairs]) | _same([d.tobytes() for d in documents])
        return Batch(task, *flat(queries), *flat(documents), same)

    def _rows(self, task: str) -> NDArray[np.int64]:
        count = len(self.parts[task]["q"])
        if task in ("en_code", "zh_code", "made_code") and self.random.random() < 0.5:
            starts = self.random.integers(0, count - 4, self.size // 4)
            return (starts[:, None] + np.arange(4)).reshape(-1)
        left = self.orders.get(task, np.zeros(0, np.int64))
        if len(left) < self.size:
            left = np.concatenate([left, self.random.permutation(count)])
        self.orders[task] = left[self.size :]
        return left[: self.size]

    def _pair(self, task: str, row: int) -> tuple[Ids, Ids]:
        chance = self.random.random
        parts = self.parts[PAIRED.get(task, task)]
        query = parts["q2" if chance() < 0.3 else "q"][row]
        if task in ("zh_en", "made_en"):
            document = parts["d"][row]
            return (document, query) if chance() < 0.4 else (query, document)
        if task == "made_self":
            return self._question(query, self.frames_zh), self._documented(parts, row, parts["d"][row])
        # What follows a rendered summary is English.
        if task != "made_code" and len(parts["r"][row]) > 5 and chance() < 0.1:
            query = parts["r"][row][: int(self.random.integers(5, 30))]
        if task == "en_self":
            return self._question(query, self.frames), self._documented(parts, row, query)
        query = self._question(query, self.frames if task in ("en_code", "en_lines") else self.frames_zh)
        return query, self._document(parts, row)

    def _question(self, query: Ids, frames: Sequence[tuple[Ids, Ids]]) -> Ids:
        chance = self.random.random
        if chance() < 0.35 and len(query) > 6:
            query = query[: int(self.random.integers(4, 12))]
        if chance() < 0.3 and len(query) > 3:
            query = query[self.random.random(len(query)) > 0.2]
        if chance() < 0.3:
            before, after = frames[int(self.random.integers(len(frames)))]
            query = np.concatenate([before, query, after])
        return query

    def _document(self, parts: dict[str, Ragged], row: int) -> Ids:
        chance = self.random.random
        header = parts["h"][row]
        if chance() < 0.12 and len(header):
            return np.concatenate([header, parts["c"][row][:12]])
        pieces = [header] if chance() < 0.5 else []
        if chance() < 0.4:
            pieces.append(parts["r"][row])
        return self._thinned(np.concatenate([*pieces, parts["c"][row]]))

    def _thinned(self, ids: Ids) -> Ids:
        """Drop some tokens, so that no single rare one gives a document away."""
        if self.random.random() < 0.5 or len(ids) < 12:
            return ids
        return ids[self.random.random(len(ids)) > self.random.random() * 0.4]

    def _documented(self, parts: dict[str, Ragged], row: int, query: Ids) -> Ids:
        """Lay the docstring inside its function, as it stands in real files."""
        code = parts["c"][row]
        kept = query[self.random.random(len(query)) > 0.35]
        return np.concatenate([code[:16], kept, parts["r"][row], code[16:]])


def _same(keys: Sequence[bytes]) -> torch.Tensor:
    marks = torch.tensor([hash(key) for key in keys])
    equal = marks[:, None] == marks[None]
    return equal.fill_diagonal_(False)


def flat(lists: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay token lists end to end; with their lengths."""
    ids = torch.from_numpy(np.concatenate(lists).astype(np.int64))
    return ids, torch.tensor([len(ids) for ids in lists])
