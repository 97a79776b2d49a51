"""What a model's folder says of its model: architecture, pooling, prompts, window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qvec.embedders.instructions import Prompts, prompts_from
from qvec.errors import EmbeddingError

QWEN3 = "qwen3"
QWEN3_WINDOW = 32_768
_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLINGS = {"lasttoken": "last", "mean": "mean", "cls": "cls", "max": "max"}
_POOLING_FLAGS = {
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
# Positions start behind the padding id in these architectures.
_LATE_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a folder says of its model.

    Attributes:
        path: the folder.
        config: config.json.
        pooling: ``"last"``, ``"mean"``, ``"cls"``, ``"max"``; empty when the folder does not say.
        prompts: the model's prompts.
        max_tokens: the window that the folder declares.
        lowercase: texts are lower-cased before they are tokenized.
    """

    path: Path
    config: Mapping[str, Any]
    pooling: str
    prompts: Prompts
    max_tokens: int
    lowercase: bool

    @property
    def is_qwen3(self) -> bool:
        """Whether the architecture is Qwen3."""
        return bool(self.config.get("model_type") == QWEN3)


def read_folder(path: Path, *, pools: bool = True) -> ModelFolder:
    """Read config.json and the files of sentence-transformers beside it.

    Args:
        path: the folder.
        pools: the model makes one vector of a text; False passes over what the folder says of pooling.

    Raises:
        EmbeddingError: a file is missing or broken, or asks for a step that is not taken here.
    """
    config = _read_json(path / "config.json", required=True)
    if not any(path.glob("*.safetensors")):
        raise EmbeddingError(
            f"{path} holds no *.safetensors: download the model whole, or save its weights as safetensors"
        )
    sentence = _read_json(path / "config_sentence_transformers.json")
    limits = _read_json(path / "sentence_bert_config.json")
    qwen3 = config.get("model_type") == QWEN3
    prompts = prompts_from(sentence.get("prompts") or {}, default=sentence.get("default_prompt_name"), qwen3=qwen3)
    return ModelFolder(
        path=path,
        config=config,
        pooling=_read_pooling(path) if pools else "",
        prompts=prompts,
        max_tokens=_window(config, limits, _read_json(path / "tokenizer_config.json")),
        lowercase=bool(limits.get("do_lower_case")),
    )


def _read_pooling(path: Path) -> str:
    modules = _read_json_list(path / "modules.json")
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _MODULES:
            raise EmbeddingError(
                f"{path} has a {kind} step, which is not taken here; load a model of transformer and pooling"
            )
    place = next((module["path"] for module in modules if str(module["type"]).endswith("Pooling")), None)
    if place is None:
        return ""
    config = _read_json(path / str(place) / "config.json", required=True)
    if config.get("include_prompt") is False:
        raise EmbeddingError(f"{path} leaves its prompt out of the pooling, which is not done here")
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or ())
    modes = modes or [mode for flag, mode in _POOLING_FLAGS.items() if config.get(flag)]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise EmbeddingError(
            f"{path} pools by {' and '.join(map(str, modes)) or 'nothing'}; known: {', '.join(_POOLINGS)}"
        )
    return _POOLINGS[modes[0]]


def _window(config: Mapping[str, Any], limits: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int:
    kind = config.get("model_type")
    positions = config.get("max_position_embeddings")
    if kind in _LATE_POSITIONS and isinstance(positions, int):
        positions -= int(config.get("pad_token_id") or 0) + 1
    # Qwen states 32,768 for its embedding models, whatever larger numbers stand in their files.
    stated = QWEN3_WINDOW if kind == QWEN3 else None
    declared = (stated, positions, limits.get("max_seq_length"), tokenizer.get("model_max_length"))
    return int(min((value for value in declared if isinstance(value, int | float) and value > 0), default=512))


def _read_json(path: Path, *, required: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise EmbeddingError(f"{path.parent} holds no {path.name}: this is no model's folder, or not a whole one")
        return {}
    value = _parse(path)
    if not isinstance(value, dict):
        raise EmbeddingError(f"{path} is not a JSON object: download it again")
    return value


def _read_json_list(path: Path) -> list[dict[str, Any]]:
    value = _parse(path) if path.is_file() else []
    if not isinstance(value, list) or not all(isinstance(item, dict) and "type" in item for item in value):
        raise EmbeddingError(f"{path} is not a list of modules: download it again")
    return value


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EmbeddingError(f"{path} cannot be read: {exc}") from exc
