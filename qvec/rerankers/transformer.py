"""Qwen3-Reranker, run by torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qvec.embedders.forward import Forward, PaddedForward, token_batches
from qvec.embedders.hub import find_folder
from qvec.embedders.inputs import check_texts
from qvec.embedders.instructions import sentence_of
from qvec.embedders.loading import choose_device, choose_dtype, is_out_of_memory, load_model, require_packages
from qvec.embedders.model_folder import ModelFolder, read_folder
from qvec.embedders.pooling import last
from qvec.embedders.tokenizing import load_tokenizer
from qvec.errors import ConfigError, EmbeddingError
from qvec.reranker import OUT_OF_TIME, Relevance, Reranker
from qvec.rerankers.qwen3 import Qwen3Pairs

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLE = "Qwen/Qwen3-Reranker-0.6B"
# What Qwen's own example cuts pairs to; the model's window is four times that.
MAX_TOKENS = 8192
_BATCH_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 65_536}


class TransformerReranker(Reranker):
    """Score pairs with Qwen3-Reranker from a folder or the Hugging Face hub; safe to share between threads.

    The score is the probability that the model answers "yes" rather than "no". Only these two words' logits of the last
    token are computed, not those of the whole vocabulary.
    """

    takes_instructions = True

    def __init__(
        self,
        model: str = "",
        *,
        device: str | None = None,
        dtype: str | None = None,
        instruction: str | None = None,
        max_tokens: int = MAX_TOKENS,
        batch_tokens: int | None = None,
        revision: str | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a folder, or a Hugging Face name such as ``Qwen/Qwen3-Reranker-0.6B``.
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; None takes the best there is.
            dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``; None takes bfloat16 on CUDA and a CPU that multiplies
                it, and float32 elsewhere.
            instruction: the default instruction, a preset's name or a sentence; None takes Qwen's own.
            max_tokens: longest pair; longer documents are cut, and their notes say so.
            batch_tokens: most tokens in one forward pass, padding included; None suits the device.
            revision: branch, tag or commit on the hub.

        Raises:
            ConfigError: an argument is out of range.
            InvalidInputError: `instruction` names nothing.
            EmbeddingError: the model cannot be found or loaded, does not fit, or is no Qwen3-Reranker.
            MissingDriverError: torch or transformers is not installed.
        """
        if not model:
            raise ConfigError(f"no model named: give a folder, or a Hugging Face name such as {EXAMPLE}")
        require_packages()
        folder = read_folder(find_folder(model, revision), pools=False)
        if not folder.is_qwen3 or (folder.path / "1_Pooling").is_dir():
            raise EmbeddingError(f"{model} is no Qwen3-Reranker; take {EXAMPLE}, or serve it and name its /rerank")
        if not 1 <= max_tokens <= folder.max_tokens or (batch_tokens is not None and batch_tokens < 1):
            raise ConfigError(
                f"max_tokens={max_tokens}, batch_tokens={batch_tokens}: the model's window goes from 1 to "
                f"{folder.max_tokens}, and a batch takes at least one token"
            )
        self.model_id = model
        self.max_tokens = max_tokens
        self._instruction = None if instruction is None else sentence_of(instruction)
        self._device = choose_device(device)
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cpu"])
        self._pairs = Qwen3Pairs(load_tokenizer(folder), max_tokens)
        loaded = load_model(folder, self._device, choose_dtype(dtype, self._device), kind="causal")
        self._answers = _answer_rows(loaded, [self._pairs.no, self._pairs.yes])
        self._forward: Forward = _forward(loaded, folder)
        # Two passes at once would need twice the memory and be no faster.
        self._one_pass = threading.Lock()

    def __repr__(self) -> str:
        return f"TransformerReranker({self.model_id!r}, device={str(self._device)!r})"

    def count_tokens(self, query: str, texts: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Count each pair's tokens, template included, cut to `max_tokens`.

        Raises:
            InvalidInputError: the instruction names nothing.
            TextTooLongError: the query leaves no room for a document.
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        return [len(ids) for ids in self._ids(query, texts, instruction)[0]]

    def score(
        self, query: str, texts: Sequence[str], *, instruction: str | None = None, seconds: float | None = None
    ) -> list[Relevance]:
        """Score documents by the probability of "yes".

        With `seconds`, documents go in batches of neighbours instead of like lengths, and no batch is begun that the
        pace so far would end after that time.

        Returns:
            One relevance for each text, in the order of `texts`.

        Raises:
            InvalidInputError: the instruction names nothing.
            TextTooLongError: the query leaves no room for a document.
            EmbeddingError: a text cannot be read, or memory does not suffice.
        """
        started = time.monotonic()
        ids, cut = self._ids(query, texts, instruction)
        found = [Relevance(None, OUT_OF_TIME)] * len(ids)
        lengths = [len(pair) for pair in ids]
        ordered = seconds is not None
        batches = _runs(lengths, self.batch_tokens) if ordered else token_batches(lengths, self.batch_tokens)
        begun = time.monotonic()
        read = 0
        for batch in batches:
            size = sum(lengths[at] for at in batch)
            if seconds is not None and not _fits(seconds - (time.monotonic() - started), begun, read, size):
                break
            with self._one_pass:
                scores = self._run([ids[at] for at in batch])
            read += size
            for at, score in zip(batch, scores, strict=True):
                note = f"cut to {lengths[at]:,} of {lengths[at] + cut[at]:,} tokens" if cut[at] else ""
                found[at] = Relevance(score, note)
        return found

    def _ids(self, query: str, texts: Sequence[str], instruction: str | None) -> tuple[list[list[int]], list[int]]:
        (asked,) = check_texts([query])
        return self._pairs(asked, check_texts(texts), instruction or self._instruction)

    def _run(self, batch: Sequence[Sequence[int]]) -> list[float]:
        """Score a batch, in halves where memory does not suffice for the whole."""
        import torch

        try:
            hidden = self._forward(batch)
            with torch.inference_mode():
                logits = hidden @ self._answers.T
                scores = torch.softmax(logits, dim=1)[:, 1].tolist()
        except RuntimeError as exc:
            if not is_out_of_memory(exc):
                raise EmbeddingError(f"{self.model_id} failed on {self._device}: {exc}") from exc
            if len(batch) == 1:
                raise EmbeddingError(
                    f"no memory on {self._device} for a pair of {len(batch[0])} tokens: lower max_tokens"
                ) from exc
            half = len(batch) // 2
            return [*self._run(batch[:half]), *self._run(batch[half:])]
        if not np.isfinite(scores).all():
            raise EmbeddingError("the model gave NaN or infinity: take dtype='bfloat16' or 'float32'")
        return [float(score) for score in scores]


def _answer_rows(model: Any, words: Sequence[int]) -> Tensor:
    rows: Tensor = model.get_output_embeddings().weight[list(words)].float()
    return rows


def _forward(model: Any, folder: ModelFolder) -> PaddedForward:
    pad = folder.config.get("pad_token_id")
    return PaddedForward(model.get_decoder(), last, pad=pad if isinstance(pad, int) else 0, causal=True)


def _runs(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut neighbours into batches whose padded size stays within the budget."""
    batches: list[list[int]] = []
    widest = 0
    for position, length in enumerate(lengths):
        if batches and max(widest, length) * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
            widest = max(widest, length)
        else:
            batches.append([position])
            widest = length
    return batches


def _fits(left: float, begun: float, read: int, size: int) -> bool:
    pace = (time.monotonic() - begun) / read if read else 0.0
    return left > pace * size
