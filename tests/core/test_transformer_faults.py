"""Folders that are not what they should be, and machines that lack what is asked for."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from qvec.embedders.hub import find_folder
from qvec.embedders.loading import choose_device, choose_dtype, multiplies_bfloat16
from qvec.embedders.model_folder import read_folder
from qvec.embedders.transformer import TransformerEmbedder
from qvec.embedders.weights import fingerprint, parameter_count
from qvec.errors import ConfigError, EmbeddingError
from tests.models import edit_json, write_bert, write_json

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), pooling="mean")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def load(folder: Path, **options: str) -> TransformerEmbedder:
    return TransformerEmbedder(str(folder), device="cpu", dtype="float32", **options)


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(EmbeddingError, match="no folder"):
        find_folder(name)


@pytest.mark.parametrize("network", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_hub_the_error_says_how_to_get_the_model(tmp_path, network):
    code = (
        "from qvec.embedders.hub import find_folder\n"
        "from qvec.errors import EmbeddingError\n"
        "try:\n    find_folder('Qwen/Qwen3-Embedding-0.6B')\n"
        "except EmbeddingError as exc:\n    print(exc)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), **network}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "hf download Qwen/Qwen3-Embedding-0.6B" in found.stdout
    assert "local folder" in found.stdout


def test_a_missing_config_is_named(folder):
    (folder / "config.json").unlink()
    with pytest.raises(EmbeddingError, match=r"holds no config\.json"):
        load(folder)


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(EmbeddingError, match="safetensors"):
        load(folder)


def test_a_missing_tokenizer_is_named(folder):
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(EmbeddingError, match="tokenizer"):
        load(folder)


def test_a_missing_pooling_config_is_named(folder):
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(EmbeddingError, match=r"1_Pooling holds no config\.json"):
        load(folder)


def test_a_model_that_does_not_say_how_to_pool_is_refused_until_told(folder):
    (folder / "modules.json").unlink()
    with pytest.raises(EmbeddingError, match="pooling='last'"):
        load(folder)
    assert load(folder, pooling="cls").pooling == "cls"


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "weightedmean"},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode": "mean", "include_prompt": False},
    ],
)
def test_a_pooling_that_is_not_done_here_is_refused(folder, pooling):
    write_json(folder / "1_Pooling" / "config.json", pooling)
    with pytest.raises(EmbeddingError, match="pool"):
        load(folder)


def test_a_further_step_after_pooling_is_refused_by_name(folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    write_json(folder / "modules.json", modules)
    with pytest.raises(EmbeddingError, match="Dense"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "modules.json", "config_sentence_transformers.json"])
@pytest.mark.parametrize("content", ["{broken", "7", "\udcff"])
def test_a_broken_json_file_is_named(folder, name, content):
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EmbeddingError, match=name):
        load(folder)


def test_an_unknown_architecture_is_refused(folder):
    edit_json(folder / "config.json", model_type="no_such_thing", architectures=["NoSuchThing"])
    with pytest.raises(EmbeddingError, match="no_such_thing"):
        load(folder)


def test_a_sequence_to_sequence_model_is_refused(folder):
    edit_json(folder / "config.json", is_encoder_decoder=True)
    with pytest.raises(EmbeddingError, match="sequence-to-sequence"):
        load(folder)


def test_weights_cut_off_by_a_broken_download_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(EmbeddingError, match="cut off"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"short", b"<html>not found</html>" * 50, struct.pack("<Q", 2**60) + b"{}"])
def test_weights_that_are_no_safetensors_are_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(EmbeddingError, match="download it again"):
        load(folder)


def test_missing_tensors_are_refused_and_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmbeddingError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        load(folder)


def test_tensors_of_another_shape_are_refused(folder):
    edit_json(folder / "config.json", intermediate_size=128)
    with pytest.raises(EmbeddingError, match="cannot be loaded"):
        load(folder)


def test_weights_without_the_unread_pooler_are_taken(folder):
    from safetensors.torch import load_file, save_file

    tensors = {key: value for key, value in load_file(folder / "model.safetensors").items() if "pooler" not in key}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).encode_document(["read"]).shape == (1, 48)


def test_weights_larger_than_the_memory_are_refused_before_they_are_read(folder):
    huge = {"w": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}
    header = json.dumps(huge).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**42)
    with pytest.raises(EmbeddingError, match=r"needs 4398\.0 GB as torch\.float32"):
        load(folder)


def test_weights_of_nan_are_noticed(folder):
    from safetensors.torch import load_file, save_file

    tensors = {
        key: torch.full_like(value, float("nan")) for key, value in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmbeddingError, match="NaN"):
        load(folder).encode_document(["read"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_said(folder):
    with pytest.raises(EmbeddingError, match="no CUDA device"):
        TransformerEmbedder(str(folder), device="cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_an_apple_gpu_asked_for_and_absent_is_said(folder):
    with pytest.raises(EmbeddingError, match="Apple"):
        TransformerEmbedder(str(folder), device="mps")


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [("fma amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16), ("avx512_vnni", torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(tmp_path, flags, dtype):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    assert choose_dtype(None, torch.device("cpu"), cpuinfo=tmp_path / "cpuinfo") == dtype
    assert choose_dtype("float32", torch.device("cpu"), cpuinfo=tmp_path / "cpuinfo") == torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(ConfigError, match="float16"):
        choose_dtype("int8", torch.device("cpu"))


def test_a_device_is_chosen_when_none_is_named():
    assert choose_device(None).type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize(
    ("flags", "fast"), [("fma amx_bf16 amx_tile", True), ("avx512_bf16", True), ("avx512f avx512_vnni", False)]
)
def test_the_cpu_is_asked_whether_it_multiplies_bfloat16(tmp_path, flags, fast):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n")
    assert multiplies_bfloat16(tmp_path / "cpuinfo") is fast
    assert multiplies_bfloat16(tmp_path / "absent") is False


def test_the_fingerprint_knows_the_weights_and_not_who_saved_them(sound, folder):
    before = load(folder).revision
    assert before == load(sound).revision
    edit_json(folder / "config.json", transformers_version="0.0", _name_or_path="elsewhere", dtype="float16")
    assert fingerprint(folder, read_folder(folder).config) == before
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert fingerprint(folder, read_folder(folder).config) != before


@pytest.mark.parametrize(
    "change", [("config.json", "hidden_act", "relu"), ("1_Pooling/config.json", "pooling_mode", "cls")]
)
def test_the_fingerprint_knows_config_and_pooling(folder, change):
    name, key, value = change
    before = fingerprint(folder, read_folder(folder).config)
    edit_json(folder / name, **{key: value})
    assert fingerprint(folder, read_folder(folder).config) != before


def test_parameters_are_counted_from_the_headers(folder):
    assert parameter_count(folder) == sum(p.numel() for p in load(folder)._forward._model.parameters())


def test_a_positional_offset_narrows_the_window(folder):
    edit_json(folder / "config.json", model_type="roberta", max_position_embeddings=34, pad_token_id=1)
    assert read_folder(folder).max_tokens == 32
