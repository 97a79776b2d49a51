"""Qwen3-Reranker's template, token for token as its model card has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qvec.embedders.instructions import DEFAULT_PRESET, PRESETS, sentence_of
from qvec.errors import EmbeddingError, TextTooLongError

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def head(query: str, instruction: str | None) -> str:
    """Write what stands between the prefix and the document's text.

    Raises:
        InvalidInputError: the instruction names nothing.
    """
    task = PRESETS[DEFAULT_PRESET] if instruction is None else sentence_of(instruction)
    return f"<Instruct>: {task}\n<Query>: {query}\n<Document>: "


class Qwen3Pairs:
    """Turns pairs into token ids; what the document says cannot end its turn, as its marks are read as plain text."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        """Take Qwen3's tokenizer, of the tokenizers library.

        Raises:
            EmbeddingError: it has no token for yes, no or one of the marks.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._prefix = self._marked(PREFIX)
        self._suffix = self._marked(SUFFIX)
        self._room = max_tokens - len(self._prefix) - len(self._suffix)
        self._max_tokens = max_tokens
        self.yes, self.no = self._word("yes"), self._word("no")
        tokenizer.encode_special_tokens = True

    def __call__(self, query: str, texts: Sequence[str], instruction: str | None) -> tuple[list[list[int]], list[int]]:
        """Return each pair's ids, cut to the window, and how many tokens of it were left out.

        Raises:
            InvalidInputError: the instruction names nothing.
            TextTooLongError: the query leaves no room for a document.
        """
        before = head(query, instruction)
        encodings = self._tokenizer.encode_batch_fast([before + text for text in texts], add_special_tokens=False)
        bodies = [encoding.ids for encoding in encodings]
        asked = len(self._tokenizer.encode(before, add_special_tokens=False).ids)
        if asked >= self._room:
            raise TextTooLongError({0: asked + self._max_tokens - self._room}, self._max_tokens)
        ids = [self._prefix + body[: self._room] + self._suffix for body in bodies]
        return ids, [max(0, len(body) - self._room) for body in bodies]

    def _marked(self, text: str) -> list[int]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if "<|im_end|>" not in encoding.tokens:
            raise EmbeddingError("the tokenizer does not know <|im_end|>, so this is no Qwen3-Reranker's folder")
        return list(encoding.ids)

    def _word(self, word: str) -> int:
        found = self._tokenizer.token_to_id(word)
        if found is None:
            raise EmbeddingError(f"the tokenizer has no token {word!r}, so this is no Qwen3-Reranker's folder")
        return int(found)
