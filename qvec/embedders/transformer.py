"""Qwen3-Embedding and other Hugging Face embedding models, run by torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qvec.embedder import Embedder
from qvec.embedders.forward import Forward, PaddedForward
from qvec.embedders.hub import EXAMPLE, find_folder
from qvec.embedders.inputs import check_lengths, check_texts
from qvec.embedders.instructions import Prompts, with_default
from qvec.embedders.levers import Levers, default_levers
from qvec.embedders.loading import choose_device, choose_dtype, load_model, require_packages
from qvec.embedders.model_folder import ModelFolder, read_folder
from qvec.embedders.packed import PackedForward, can_pack
from qvec.embedders.pooling import POOLINGS
from qvec.embedders.products import has_float8, has_int8
from qvec.embedders.running import Runner, choose_budget
from qvec.embedders.tokenizing import TokenWindows, load_tokenization, shared_prefix
from qvec.embedders.weights import fingerprint
from qvec.errors import ConfigError, EmbeddingError, TextTooLongError
from qvec.types import Vectors

if TYPE_CHECKING:
    from torch import Tensor

LEAST_DIM = 32


class TransformerEmbedder(Embedder):
    """Embed with a transformer from a folder or the Hugging Face hub.

    Pooling, prompts and window are read from the sentence-transformers files beside the weights. Vectors are cut to
    `dim` first and brought to unit length after, in float32. Texts are never cut: one over the window is an error.
    """

    def __init__(
        self,
        model: str = "",
        *,
        dim: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        instruction: str | None = None,
        pooling: str | None = None,
        prompts: Prompts | None = None,
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        revision: str | None = None,
        levers: Levers | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a folder, or a Hugging Face name such as ``Qwen/Qwen3-Embedding-0.6B``.
            dim: width to cut to, from 32 to the model's own; None keeps that.
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; None takes the best there is.
            dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``; None takes bfloat16 on CUDA and a CPU that multiplies
                it (AMX, AVX512-BF16), and float32 elsewhere.
            instruction: the queries' default instruction, a preset's name or a sentence; None keeps the model's.
            pooling: ``"last"``, ``"mean"``, ``"cls"`` or ``"max"``, needed where the folder does not say, as with a
                language model that was not made for embedding.
            prompts: prefixes in place of the folder's, such as ``Prompts(query="query: ", document="passage: ")``.
            max_tokens: a window narrower than the model's own.
            batch_tokens: most tokens in one forward pass, padding included; None suits the device and its free memory.
            revision: branch, tag or commit on the hub.
            levers: what to speed up by; None takes what pays on the device.

        Raises:
            ConfigError: an argument is out of range.
            InvalidInputError: `instruction` cannot be used with this model.
            EmbeddingError: the model cannot be found or loaded, or does not fit.
            MissingDriverError: torch or transformers is not installed.
        """
        if not model:
            raise ConfigError(f"no model named: give a folder, or a Hugging Face name such as {EXAMPLE}")
        require_packages()
        folder = _complete(read_folder(find_folder(model, revision)), pooling, prompts)
        self.model_id = model
        self.pooling = folder.pooling
        self.max_tokens = _checked_window(max_tokens, folder.max_tokens)
        self._prompts = with_default(folder.prompts, instruction)
        self.prompt_digest = folder.prompts.digest
        self._device = choose_device(device)
        self._levers = levers or default_levers(self._device.type)
        if self._levers.float8 and not has_float8(self._device):
            raise ConfigError(f"float8 needs an Ada or Hopper GPU, and the device is {self._device}: leave it off")
        if self._levers.int8 and not has_int8(self._device):
            raise ConfigError(
                f"int8 needs a CPU and a torch with oneDNN, and the device is {self._device}: leave it off"
            )
        self._tokenize = load_tokenization(folder)
        self._dtype = choose_dtype(dtype, self._device)
        _check_budget(batch_tokens)
        loaded = load_model(folder, self._device, self._dtype)
        self._config = loaded.config
        self.dim = _checked_dim(dim, loaded.config.hidden_size)
        self.revision = fingerprint(folder.path, folder.config)
        self._forward = _choose_forward(loaded, folder, self._levers)
        budget = batch_tokens or choose_budget(loaded.config, self._device, self._dtype)
        self._runner = Runner(self._forward, budget=budget, model=model, device=self._device)
        # Two passes at once would need twice the memory and be no faster.
        self._one_pass = threading.Lock()

    @staticmethod
    def spread(model: str, devices: Sequence[str], *, dim: int | None = None) -> Embedder:
        """Load a copy of a model on each of several devices, in a process of its own.

        Raises:
            ConfigError: an argument is out of range.
            EmbeddingError: the model cannot be loaded on a device.
        """
        from qvec.embedders.spread import SpreadEmbedder

        return SpreadEmbedder(model, devices, dim=dim)

    def __repr__(self) -> str:
        return f"TransformerEmbedder({self.model_id!r}, dim={self.dim}, device={str(self._device)!r})"

    @property
    def prompts(self) -> Prompts:
        """What goes before queries and documents."""
        return self._prompts

    @property
    def batch_tokens(self) -> int:
        """Most tokens in one forward pass; fewer than at first when memory did not suffice."""
        return self._runner.budget

    @property
    def device(self) -> Any:
        """The torch device that computes."""
        return self._device

    @property
    def dtype(self) -> Any:
        """The torch number format of the weights."""
        return self._dtype

    @property
    def config(self) -> Any:
        """The model's configuration, as transformers reads it."""
        return self._config

    @property
    def runner(self) -> Runner:
        """What takes token ids through the model; for measuring."""
        return self._runner

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids as a document's, prefix and special tokens included.

        Raises:
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        return self._tokenize([self._prompts.document + text for text in check_texts(texts)])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as a document's, prefix and special tokens included.

        Raises:
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        return self._lengths(check_texts(texts), self._prompts.document)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents; newlines and indentation count.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            TextTooLongError: a text is over `max_tokens`.
            EmbeddingError: a text cannot be embedded, or memory does not suffice for it.
        """
        return self._encode(texts, self._prompts.document)

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries.

        Args:
            texts: the queries.
            instruction: a preset's name (`qvec.embedders.instructions.PRESETS`), a sentence, or the name of one of the
                model's own prompts; None takes the default. A model without instructions answers a preset with its
                query prefix.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            InvalidInputError: the instruction names nothing, or the model takes none.
            TextTooLongError: a query is over `max_tokens`, its instruction included.
            EmbeddingError: a query cannot be embedded, or memory does not suffice for it.
        """
        return self._encode(texts, self._prompts.query_prefix(instruction))

    def _lengths(self, texts: Sequence[str], prefix: str) -> list[int]:
        return [len(ids) for ids in self._tokenize([prefix + text for text in texts])]

    def _encode(self, texts: Sequence[str], prefix: str) -> Vectors:
        checked = check_texts(texts)
        if not checked:
            return np.zeros((0, self.dim), dtype=np.float32)
        distinct = list(dict.fromkeys(checked)) if self._levers.deduplicate else checked
        windows = TokenWindows(self._tokenize, [prefix + text for text in distinct], overlap=self._levers.overlap)
        try:
            rows = self._embed(windows, prefix)
        except TextTooLongError:
            # Its positions are those of one window's distinct texts; name all of the call's.
            check_lengths(self._lengths(checked, prefix), self.max_tokens)
            raise
        if len(distinct) == len(checked):
            return rows
        place = {text: at for at, text in enumerate(distinct)}
        return rows[[place[text] for text in checked]]

    def _embed(self, windows: TokenWindows, prefix: str) -> Vectors:
        order: list[int] = []
        parts: list[Tensor] = []
        begun = self._tokenize([prefix])[0] if prefix and self._levers.shared_prefix else []
        with windows, self._one_pass:
            for first, sequences in windows:
                check_lengths([len(ids) for ids in sequences], self.max_tokens)
                shared = shared_prefix(begun, sequences)
                places, found = self._runner(sequences, dim=self.dim, shared=shared)
                order += [first + at for at in places]
                parts += found
            # One copy for all, so that a GPU never waits for the host between batches.
            sorted_rows = _unit_rows(parts)
        rows = np.empty_like(sorted_rows)
        rows[order] = sorted_rows
        return rows


def _complete(folder: ModelFolder, pooling: str | None, prompts: Prompts | None) -> ModelFolder:
    if pooling is not None and pooling not in POOLINGS:
        raise ConfigError(f"pooling {pooling!r} is unknown: take {', '.join(POOLINGS)}")
    if not (pooling or folder.pooling):
        raise EmbeddingError(
            f"{folder.path} holds no modules.json, so how to pool is unknown, and it may be no embedding model: "
            "say it, pooling='last' for Qwen3 and other decoders, 'mean' or 'cls' for BERT's kind"
        )
    return replace(folder, pooling=pooling or folder.pooling, prompts=prompts or folder.prompts)


def _checked_window(asked: int | None, limit: int) -> int:
    if asked is not None and not 1 <= asked <= limit:
        raise ConfigError(f"max_tokens={asked}: the model's window goes from 1 to {limit}")
    return limit if asked is None else asked


def _check_budget(asked: int | None) -> None:
    if asked is not None and asked < 1:
        raise ConfigError(f"batch_tokens={asked}: a batch takes at least one token")


def _checked_dim(asked: int | None, width: int) -> int:
    least = min(LEAST_DIM, width)
    if asked is not None and not least <= asked <= width:
        raise ConfigError(f"dim={asked}: this model's vectors can have {least} to {width} components")
    return width if asked is None else asked


def _choose_forward(model: Any, folder: ModelFolder, levers: Levers) -> Forward:
    config = model.config
    if levers.packed and can_pack(config, folder.pooling):
        return PackedForward(model, levers)
    # Some models turn Qwen3 into an encoder; either key says so.
    two_way = getattr(config, "is_causal", True) is False or getattr(config, "use_bidirectional_attention", False)
    named = (config.pad_token_id, config.eos_token_id)
    pad = next((key for key in named if isinstance(key, int) and 0 <= key < config.vocab_size), 0)
    return PaddedForward(model, POOLINGS[folder.pooling], pad=pad, causal=folder.is_qwen3 and not two_way)


def _unit_rows(parts: Sequence[Tensor]) -> Vectors:
    import torch

    with torch.inference_mode():
        rows = torch.nn.functional.normalize(torch.cat(list(parts)).float(), dim=1)
        array: Vectors = np.ascontiguousarray(rows.cpu().numpy(), dtype=np.float32)
    if not np.isfinite(array).all():
        raise EmbeddingError("the model gave NaN or infinity: take dtype='bfloat16' or 'float32'")
    return array
