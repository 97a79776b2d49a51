"""Where a model comes from: a folder on disk, or the Hugging Face hub and its cache."""

from __future__ import annotations

from pathlib import Path

from qvec.errors import ConfigError, EmbeddingError, MissingDriverError

EXAMPLE = "Qwen/Qwen3-Embedding-0.6B"
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]
_NOT_FETCHED = ["onnx/*", "openvino/*", "original/*"]


def find_folder(model: str, revision: str | None = None) -> Path:
    """Return a model's folder, fetching what is missing from the hub.

    Args:
        model: a folder, or a Hugging Face name such as ``Qwen/Qwen3-Embedding-0.6B``; a folder comes first.
        revision: branch, tag or commit on the hub; None takes the main branch.

    Raises:
        ConfigError: the name is empty, or a revision of a local folder is asked for.
        EmbeddingError: there is no such folder, or the hub does not hand it out; the message says what to do.
        MissingDriverError: huggingface_hub is not installed.
    """
    if not model:
        raise ConfigError(f"no model named: give a folder, or a Hugging Face name such as {EXAMPLE}")
    path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ConfigError(f"revision={revision!r} names a state of a model on the hub; {model} is a local folder")
        return path
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EmbeddingError(f"no folder {model!r}: give a model's folder, or a Hugging Face name such as {EXAMPLE}")
    return _fetch(model, revision)


def _fetch(model: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import errors, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as exc:
        raise MissingDriverError("huggingface_hub", "torch") from exc
    # Which HTTP library it is, and so what a failing proxy raises, changed with huggingface_hub 1.0 and again with 2.
    http_error: type[Exception] = getattr(errors, "HTTPError", OSError)
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_FETCHED, ignore_patterns=_NOT_FETCHED))
    except GatedRepoError as exc:
        raise EmbeddingError(f"{model} is gated: accept its terms on huggingface.co, then run `hf auth login`") from exc
    except RevisionNotFoundError as exc:
        raise EmbeddingError(f"{model} has no revision {revision!r}: name a branch, tag or commit") from exc
    except (RepositoryNotFoundError, HFValidationError) as exc:
        raise EmbeddingError(f"the hub shows no model {model!r}: check the name, or run `hf auth login`") from exc
    except LocalEntryNotFoundError as exc:
        raise EmbeddingError(
            f"{model} is not in the local cache and the hub cannot be reached (offline, or HF_HUB_OFFLINE is set): "
            f"run `hf download {model}` where there is a network, or give a local folder"
        ) from exc
    except (OSError, http_error) as exc:
        raise EmbeddingError(f"{model} could not be downloaded: {exc}") from exc
