"""The model that ships with qvec: Chinese and English queries find code, with NumPy alone.

It has the architecture of Qwen3 with one layer and last-token pooling. Behind every text stands the same end mark, so
the one attention query is a constant and the layer is a weighted mean of token vectors: each token's weights are worked
out when the model is made, and a text costs one gather and two small matrix products a head. In most heads a weight
also falls with the token's place, so that a text's beginning counts most. `write_hugging_face` gives the same model as
an ordinary folder; ``qvec/embedders/bundled_model/README.md`` says what it was trained on and how well it does. For
more quality, move to Qwen3-Embedding: ``--model Qwen/Qwen3-Embedding-0.6B``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qvec.embedder import Embedder
from qvec.embedders.inputs import check_lengths, check_texts
from qvec.embedders.instructions import PRESETS, QWEN3_QUERY, Prompts
from qvec.embedders.tensor_file import Tensor, read_tensors, write_tensors
from qvec.errors import ConfigError, EmbeddingError
from qvec.types import Vectors

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

FOLDER = Path(__file__).parent / "bundled_model"
DIMS = (32, 64, 128, 256, 384)
# As good as the model's full width, at two thirds of the room.
DEFAULT_DIM = 256
_EPS = 1e-6
_BATCH = 256
# One gather of token rows stays within a few megabytes however long the text is.
_PIECE = 2048
_SHARE = 64
# Below this, products of weights become subnormal numbers, which are slow.
_NOTHING = 1e-30
_LAYER = "layers.0."


class BundledEmbedder(Embedder):
    """Embed with the bundled model: no download, no GPU, no torch; safe to share between threads."""

    def __init__(
        self, *, dim: int | None = None, instruction: str | None = None, threads: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        """Load the model.

        Args:
            dim: width to cut to: 32, 64, 128, 256 or the full 384; None takes 256.
            instruction: the queries' default instruction, a preset's name or a sentence; None takes ``code_search``.
            threads: how many batches are worked on at once; None takes one for each core.
            folder: another model of the same make.

        Raises:
            ConfigError: `dim` or `threads` is out of range.
            InvalidInputError: `instruction` names nothing.
            EmbeddingError: the model's files are missing or damaged.
        """
        self.dim = DEFAULT_DIM if dim is None else dim
        self._threads = (os.cpu_count() or 1) if threads is None else threads
        if self.dim not in DIMS or self._threads < 1:
            raise ConfigError(f"dim={dim}, threads={threads}: dim is one of {DIMS}, threads start at 1")
        place = FOLDER if folder is None else Path(folder)
        config = _read_config(place)
        self.model_id = "bundled"
        self.revision = str(config["weights_sha256"])[:16]
        self.max_tokens = int(config["max_position_embeddings"])
        self.pooling = "last"
        prompts = Prompts(QWEN3_QUERY, task=PRESETS[str(config["default_preset"])])
        self.prompt_digest = prompts.digest
        self._prefix = prompts.query_prefix(instruction)
        self._prompts = prompts
        self._weights = _load_weights(place, config)
        self._tokenizer = _load_tokenizer(place, config)

    def __repr__(self) -> str:
        return f"BundledEmbedder(dim={self.dim}, revision={self.revision!r})"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, the end mark included.

        Raises:
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        return [len(ids) for ids in self._ids(check_texts(texts))]

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`; a text without any letter or
            digit gets the end mark's vector.

        Raises:
            TextTooLongError: a text is over `max_tokens`.
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        return self._encode(check_texts(texts))

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries with an instruction before each.

        Args:
            texts: the queries.
            instruction: a preset's name or a sentence; None takes the default given when the model was made.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length.

        Raises:
            TextTooLongError: a query with its instruction is over `max_tokens`.
            InvalidInputError: `instruction` names nothing.
            EmbeddingError: a text is no string, or holds NUL or a lone surrogate.
        """
        prefix = self._prefix if instruction is None else self._prompts.query_prefix(instruction)
        return self._encode([prefix + text for text in check_texts(texts)])

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def _encode(self, texts: list[str]) -> Vectors:
        ids = self._ids(texts)
        check_lengths([len(row) for row in ids], self.max_tokens)
        out = np.empty((len(ids), self.dim), np.float32)

        def work(rows: slice) -> None:
            out[rows] = self._weights.embed(ids[rows], self.dim)

        slices = [slice(start, start + _SHARE) for start in range(0, len(ids), _SHARE)]
        if len(slices) < 2 or self._threads == 1:
            for rows in slices:
                work(rows)
        else:
            # BLAS' own threads on top of these would wait for each other: on a busy machine five times as long.
            with _blas().limit(limits=1), ThreadPoolExecutor(min(self._threads, len(slices))) as pool:
                list(pool.map(work, slices))
        return out


@cache
def _blas() -> ThreadpoolController:
    """Find NumPy's BLAS, once."""
    from threadpoolctl import ThreadpoolController  # 20 ms that one query does not need

    return ThreadpoolController().select(user_api="blas")


@dataclass(frozen=True, slots=True)
class Weights:
    """The layer, worked out for a constant attention query.

    Attributes:
        tokens: int8 ``(vocabulary, width)``, the embedding rows up to a factor each.
        weights: float32 ``(vocabulary, heads)``, what a token weighs in each head's mean.
        scaled: float32 ``(vocabulary, heads)``, the same times the factor that gives the row a mean square of one.
        falls: float32 ``(max_tokens, heads)``, what is left of a weight at each place of a text.
        end: float32 ``(width,)``, the end mark's embedding, to which the layer adds.
    """

    tokens: NDArray[np.int8]
    weights: Vectors
    scaled: Vectors
    falls: Vectors
    end: NDArray[np.float32]
    values: NDArray[np.float32]
    output: NDArray[np.float32]
    gate: NDArray[np.float32]
    up: NDArray[np.float32]
    down: NDArray[np.float32]
    inner_norm: NDArray[np.float32]
    norm: NDArray[np.float32]

    def embed(self, ids: Sequence[Sequence[int]], dim: int) -> Vectors:
        """Embed token lists, each with its end mark: float32 ``(len(ids), dim)``, rows of unit length."""
        heads, width = self.weights.shape[1], self.tokens.shape[1]
        means = np.empty((len(ids), heads, width), np.float32)
        for row, text in enumerate(ids):
            means[row] = self._mean(np.array(text, np.intp))
        # (heads, texts, width) @ (heads, width, head_width): each head reads its own mean.
        mixed = np.matmul(means.transpose(1, 0, 2), self.values).transpose(1, 0, 2).reshape(len(ids), -1)
        x = self.end + mixed @ self.output
        inner = _rms(x) * self.inner_norm
        gate = inner @ self.gate
        x = x + (gate / (1 + np.exp(-gate)) * (inner @ self.up)) @ self.down
        cut = (_rms(x) * self.norm)[:, :dim]
        return np.ascontiguousarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)

    def _mean(self, ids: NDArray[np.intp]) -> Vectors:
        total = np.zeros((self.weights.shape[1], self.tokens.shape[1]), np.float32)
        weight = np.zeros(self.weights.shape[1], np.float32)
        for start in range(0, len(ids), _PIECE):
            piece = ids[start : start + _PIECE]
            falls = self.falls[start : start + _PIECE][: len(piece)]
            total += (self.scaled[piece] * falls).T @ self.tokens[piece].astype(np.float32)
            weight += np.einsum("th,th->h", self.weights[piece], falls)
        return np.asarray(total / weight[:, None])


def _rms(x: Vectors) -> Vectors:
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + _EPS), dtype=np.float32)


def _load_weights(folder: Path, config: dict[str, Any]) -> Weights:
    path = folder / "weights.safetensors"
    _check_digest(path, str(config["weights_sha256"]))
    stored = read_tensors(path)
    heads, head_width = int(config["num_attention_heads"]), int(config["head_dim"])

    def matrix(name: str) -> NDArray[np.float32]:
        return np.ascontiguousarray(_whole(stored, name).T)

    width = int(config["hidden_size"])
    values = matrix(f"{_LAYER}self_attn.v_proj.weight") * stored[f"{_LAYER}input_layernorm.weight"][:, None]
    return Weights(
        tokens=stored["embed_tokens.weight"],
        weights=stored["token_weights"],
        scaled=stored["token_weights"] * stored["token_scales"][:, None],
        falls=_falls(stored["head_slopes"], int(config["max_position_embeddings"])),
        end=stored["embed_tokens.weight"][0].astype(np.float32) * stored["embed_tokens.weight.scale"][0],
        values=np.ascontiguousarray(values.reshape(width, heads, head_width).transpose(1, 0, 2)),
        output=matrix(f"{_LAYER}self_attn.o_proj.weight"),
        gate=matrix(f"{_LAYER}mlp.gate_proj.weight"),
        up=matrix(f"{_LAYER}mlp.up_proj.weight"),
        down=matrix(f"{_LAYER}mlp.down_proj.weight"),
        inner_norm=stored[f"{_LAYER}post_attention_layernorm.weight"],
        norm=stored["norm.weight"],
    )


def _falls(slopes: Vectors, places: int) -> Vectors:
    """Work out what is left of a weight at each place of a text; numbers too small to count are put to zero."""
    left = np.exp(-np.arange(places, dtype=np.float32)[:, None] * slopes)
    left[left < _NOTHING] = 0
    return np.asarray(left, np.float32)


def _whole(stored: dict[str, Tensor], name: str) -> NDArray[np.float32]:
    rows = stored[name]
    if rows.dtype != np.int8:
        return np.asarray(rows, np.float32)
    return np.asarray(rows.astype(np.float32) * stored[f"{name}.scale"][:, None])


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EmbeddingError(f"the bundled model's config in {folder} cannot be read: install qvec again") from exc
    if not isinstance(config, dict) or "weights_sha256" not in config:
        raise EmbeddingError(f"{folder / 'config.json'} is not the bundled model's: install qvec again")
    return config


def _load_tokenizer(folder: Path, config: dict[str, Any]) -> Tokenizer:
    path = folder / "tokenizer.json"
    _check_digest(path, str(config["tokenizer_sha256"]))
    return Tokenizer.from_file(str(path))


def _check_digest(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise EmbeddingError(f"{path} is missing or cannot be read ({exc}): install qvec again") from exc
    if found != expected:
        raise EmbeddingError(f"{path} is damaged: its SHA-256 is {found}, not {expected}; install qvec again")


def write_hugging_face(folder: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None) -> None:
    """Write the model as an ordinary Hugging Face folder, for `TransformerEmbedder` or sentence-transformers.

    Args:
        folder: where to, made if missing; its files are replaced.
        source: the model's own folder; None takes the bundled one.

    Raises:
        EmbeddingError: the model's files are missing or damaged.
    """
    place, target = FOLDER if source is None else Path(source), Path(folder)
    config = _read_config(place)
    weights = place / "weights.safetensors"
    _check_digest(weights, str(config["weights_sha256"]))
    stored = read_tensors(weights)
    names = [name for name in stored if not name.startswith(("token_", "head_")) and not name.endswith(".scale")]
    target.mkdir(parents=True, exist_ok=True)
    (target / "1_Pooling").mkdir(exist_ok=True)
    tensors = {name: _whole(stored, name) for name in names}
    write_tensors(target / "model.safetensors", tensors, metadata={"format": "pt"})
    (target / "tokenizer.json").write_bytes((place / "tokenizer.json").read_bytes())
    for name, value in _companions(config).items():
        (target / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _companions(config: dict[str, Any]) -> dict[str, object]:
    own = ("weights_sha256", "tokenizer_sha256", "default_preset")
    query = Prompts(QWEN3_QUERY, task=PRESETS[str(config["default_preset"])]).query_prefix(None)
    steps = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(steps)
    ]
    end = "<|endoftext|>"
    return {
        "config.json": {name: value for name, value in config.items() if name not in own},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": end, "eos_token": end, "padding_side": "left",
            "model_max_length": config["max_position_embeddings"],
        },
        "config_sentence_transformers.json": {"prompts": {"query": query, "document": ""}},
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": config["hidden_size"], "pooling_mode_lasttoken": True},
    }  # fmt: skip
