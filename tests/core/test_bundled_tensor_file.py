"""Tensor files written with NumPy are read back, and by safetensors itself."""

import numpy as np
import pytest

from qvec.embedders.tensor_file import read_tensors, write_tensors
from qvec.errors import EmbeddingError

TENSORS = {
    "a": np.arange(6, dtype=np.int8).reshape(2, 3),
    "b": np.linspace(0, 1, 5, dtype=np.float32),
    "c": np.ones((2, 2), np.float16),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, metadata={"format": "pt"})
    return path


def test_tensors_come_back_read_only(file):
    found = read_tensors(file)
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
        assert not found[name].flags.writeable


def test_safetensors_reads_them(file):
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    for name, tensor in safetensors.load_file(file).items():
        np.testing.assert_array_equal(tensor, TENSORS[name])


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_tensor_file_is_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(EmbeddingError, match="safetensors"):
        read_tensors(tmp_path / "x")


def test_a_file_cut_short_is_refused(file):
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(EmbeddingError, match="safetensors"):
        read_tensors(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(EmbeddingError, match="safetensors"):
        read_tensors(tmp_path / "none")
