"""Text to token ids, with a model's own tokenizer and nothing cut off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from qvec.embedders.model_folder import ModelFolder
from qvec.errors import EmbeddingError

QWEN3_END = "<|endoftext|>"
# Enough for several batches, few enough that a device waits little for the first.
_WINDOW = 2048
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


class Tokenization:
    """Turn texts into the ids that the model reads, special tokens included."""

    def __init__(self, tokenizer: Any, *, end: int | None, lowercase: bool) -> None:
        """Take a tokenizer of the tokenizers library.

        Args:
            tokenizer: it; its truncation and padding are switched off.
            end: id to append to every text in place of the tokenizer's own special tokens; None keeps these.
            lowercase: lower-case texts first.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._end = [] if end is None else [end]
        self._lowercase = lowercase

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids.

        Raises:
            EmbeddingError: a text has no token at all.
        """
        taken = [text.lower() for text in texts] if self._lowercase else list(texts)
        encodings = self._tokenizer.encode_batch_fast(taken, add_special_tokens=not self._end)
        ids: list[list[int]] = [encoding.ids + self._end for encoding in encodings]
        for position, found in enumerate(ids):
            if not found:
                raise EmbeddingError(f"text {position} is empty to this model's tokenizer, which marks no ends")
        return ids


class TokenWindows:
    """Many texts tokenized in windows, those ahead in a thread while the caller computes.

    Iterate over it within ``with``: it gives the position of a window's first text, and the ids of its texts.
    """

    def __init__(
        self, tokenize: Callable[[Sequence[str]], list[list[int]]], texts: Sequence[str], *, overlap: bool
    ) -> None:
        """Take texts.

        Args:
            tokenize: texts to ids.
            texts: they.
            overlap: use windows and a thread; without, all texts are one window.
        """
        self._tokenize = tokenize
        self._texts = texts
        self._size = _WINDOW if overlap else max(1, len(texts))
        self._thread = ThreadPoolExecutor(1) if len(texts) > self._size else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[int, list[list[int]]]]:
        firsts = range(0, len(self._texts), self._size)
        windows = [self._texts[first : first + self._size] for first in firsts]
        if self._thread is None:
            yield from ((first, self._tokenize(window)) for first, window in zip(firsts, windows, strict=True))
            return
        futures = deque(self._thread.submit(self._tokenize, window) for window in windows)
        for first in firsts:
            yield first, futures.popleft().result()


def shared_prefix(begun: list[int], sequences: Sequence[list[int]]) -> int:
    """Count the leading tokens that a prompt, tokenized alone, and all sequences have in common.

    The prompt's last characters may have merged with a text's first, so its own tokens do not say.
    """
    ends = (begun, min(sequences, default=[]), max(sequences, default=[]))
    return next((at for at, tokens in enumerate(zip(*ends, strict=False)) if len(set(tokens)) > 1), min(map(len, ends)))


def load_tokenization(folder: ModelFolder) -> Tokenization:
    """Load a folder's tokenizer, with the end mark that its pooling wants.

    Raises:
        EmbeddingError: the files are missing or broken, or only a slow tokenizer exists for them.
    """
    tokenizer = load_tokenizer(folder)
    end = _qwen3_end(tokenizer, folder) if folder.is_qwen3 and folder.pooling == "last" else None
    return Tokenization(tokenizer, end=end, lowercase=folder.lowercase)


def load_tokenizer(folder: ModelFolder) -> Any:
    """Load a folder's tokenizer as the tokenizers library has it.

    Raises:
        EmbeddingError: the files are missing or broken, or only a slow tokenizer exists for them.
    """
    from transformers import AutoTokenizer

    # transformers 5 makes up an empty tokenizer where the files are missing.
    if not any(file for name in _FILES for file in folder.path.glob(name)):
        raise EmbeddingError(f"{folder.path} holds no tokenizer.json and no vocabulary: download it whole")
    try:
        found = AutoTokenizer.from_pretrained(str(folder.path), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as exc:
        raise EmbeddingError(f"{folder.path} has no tokenizer that can be read ({exc}): download it whole") from exc
    tokenizer = getattr(found, "backend_tokenizer", None)
    if tokenizer is None:
        raise EmbeddingError(f"{folder.path} has no tokenizer.json: save its tokenizer in the fast form")
    return tokenizer


def _qwen3_end(tokenizer: Any, folder: ModelFolder) -> int | None:
    """Find the end token, to be set here exactly once: tools that save a folder anew drop or double it.

    A tokenizer that adds other tokens belongs to a model trained with these, and keeps its way.
    """
    end = tokenizer.token_to_id(QWEN3_END)
    added = tokenizer.encode("").ids
    if any(token != end for token in added):
        return None
    if end is None:
        raise EmbeddingError(
            f"{folder.path} has no token {QWEN3_END}, on which Qwen3 embeddings end: download it whole"
        )
    return int(end)
