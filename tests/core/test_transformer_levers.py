"""The levers change how fast the transformer embedder is, not what it returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qvec.embedders.levers import Levers, default_levers
from qvec.embedders.loading import free_bytes
from qvec.embedders.measuring import model_flops, sample_texts
from qvec.embedders.packed import PackedForward
from qvec.embedders.running import Runner, bytes_per_token, choose_budget
from qvec.embedders.tokenizing import TokenWindows, shared_prefix
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import ConfigError, EmbeddingError, TextTooLongError
from tests.models import write_qwen3

torch = pytest.importorskip("torch")

CPU = torch.device("cpu")
TEXTS = ["读取CSV文件", "x = 1\n" * 150, "a", "", "a", "open a file and read its lines", "读取CSV文件"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> TransformerEmbedder:
    return TransformerEmbedder(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain(folder: Path) -> TransformerEmbedder:
    none = Levers(packed=False, shared_prefix=False, deduplicate=False, pinned=False)
    return TransformerEmbedder(str(folder), device="cpu", dtype="float32", levers=none)


def test_all_levers_together_give_the_vectors_of_none(folder, embedder, plain):
    overlapped = TransformerEmbedder(str(folder), device="cpu", dtype="float32", levers=Levers(overlap=True))
    for ours in (embedder, overlapped):
        np.testing.assert_allclose(ours.encode_document(TEXTS), plain.encode_document(TEXTS), atol=1e-4)
        np.testing.assert_allclose(ours.encode_query(TEXTS), plain.encode_query(TEXTS), atol=1e-4)


def test_a_query_alone_gives_what_it_gives_among_others(embedder):
    rows = embedder.encode_query(TEXTS)
    np.testing.assert_allclose(embedder.encode_query(TEXTS[:1]), rows[:1], atol=1e-4)


def test_equal_texts_get_equal_rows(embedder):
    rows = embedder.encode_document(TEXTS)
    np.testing.assert_array_equal(rows[0], rows[6])
    np.testing.assert_array_equal(rows[2], rows[4])


def test_texts_too_long_are_named_by_every_position_of_the_call(folder):
    narrow = TransformerEmbedder(str(folder), device="cpu", dtype="float32", max_tokens=4)
    with pytest.raises(TextTooLongError) as caught:
        narrow.encode_document(["ok", "word " * 30, "ok", "word " * 30])
    assert set(caught.value.lengths) == {1, 3}


def test_a_text_of_ten_megabytes_is_refused_for_its_length(embedder):
    with pytest.raises(TextTooLongError):
        embedder.encode_document(["word " * 2_000_000])


def test_float8_away_from_its_gpus_is_refused(folder):
    with pytest.raises(ConfigError, match="Hopper"):
        TransformerEmbedder(str(folder), device="cpu", dtype="float32", levers=Levers(float8=True))


def test_a_gpu_overlaps_compiles_and_replays_and_a_cpu_does_not():
    assert default_levers("cuda") == Levers(overlap=True, compiled=True, graphs=True)
    assert default_levers("cpu") == Levers()


def test_windows_of_tokens_come_in_order_and_from_a_thread():
    texts = [str(number) for number in range(5000)]
    with TokenWindows(lambda window: [[int(text)] for text in window], texts, overlap=True) as windows:
        found = list(windows)
    assert [first for first, _ in found] == [0, 2048, 4096]
    assert [ids for _, window in found for ids in window] == [[number] for number in range(5000)]


def test_a_fault_in_a_window_reaches_the_caller():
    def fail(window):
        raise EmbeddingError("no tokens")

    with TokenWindows(fail, ["a"] * 5000, overlap=True) as windows, pytest.raises(EmbeddingError, match="no tokens"):
        list(windows)


@pytest.mark.parametrize(
    ("begun", "sequences", "shared"),
    [
        ([1, 2, 3, 9], [[1, 2, 3, 4], [1, 2, 3, 5, 6]], 3),
        ([1, 2, 3], [[1, 2, 3, 4], [1, 2, 7]], 2),
        ([], [[1, 2]], 0),
        ([1, 2], [[1]], 1),
    ],
)
def test_the_shared_beginning_is_what_prompt_and_texts_have_in_common(begun, sequences, shared):
    assert shared_prefix(begun, sequences) == shared


class Scarce(PackedForward):
    """A forward on a device that holds so many tokens at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.ran: list[int] = []

    def __call__(self, sequences, *, shared: int = 0):
        tokens = sum(map(len, sequences))
        if tokens > self.room:
            raise torch.OutOfMemoryError(f"{tokens} tokens")
        self.ran.append(tokens)
        return torch.tensor([[float(len(sequence))] for sequence in sequences])


def test_a_budget_beyond_the_memory_is_halved_until_it_fits_and_stays_so(caplog):
    runner = Runner(Scarce(100), budget=1000, model="m", device=CPU)
    sequences = [[1] * length for length in (90, 10, 40, 40, 5, 80, 60)]
    order, parts = runner(sequences, dim=1)
    rows = torch.cat(parts).flatten().tolist()
    assert {at: int(row) for at, row in zip(order, rows, strict=True)} == dict(enumerate(map(len, sequences)))
    halvings = len(caplog.records)
    assert 0 < runner.budget <= 100
    runner(sequences, dim=1)
    assert len(caplog.records) == halvings


def test_a_text_that_does_not_fit_alone_is_named_by_its_length():
    runner = Runner(Scarce(10), budget=1000, model="m", device=CPU)
    with pytest.raises(EmbeddingError, match="a text of 11 tokens"):
        runner([[1] * 11, [1]], dim=1)


def test_the_budget_follows_the_free_memory(embedder, tmp_path):
    assert choose_budget(embedder.config, CPU, torch.float32) == 2048
    assert bytes_per_token(embedder.config, 2) < bytes_per_token(embedder.config, 4)
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   5 kB\n")
    assert free_bytes(CPU, tmp_path / "meminfo") == 5 * 1024
    assert free_bytes(CPU, tmp_path / "absent") is None


def test_flops_are_those_of_the_weights_and_of_pairs_of_tokens(embedder):
    layers = [p for name, p in parameters_of(embedder) if name.startswith("layers") and p.ndim == 2]
    weights = sum(p.numel() for p in layers)
    pairs = 4 * 4 * 32 * 2 * (10 * 11 / 2)
    assert model_flops(embedder.config, [10]) == 2 * weights * 10 + pairs


def parameters_of(embedder: TransformerEmbedder):
    from transformers import Qwen3Model

    return Qwen3Model(embedder.config).named_parameters()


def test_sampled_texts_have_about_the_lengths_asked_for():
    texts = sample_texts(300, mean=120, most=500, seed=1)
    assert texts == sample_texts(300, mean=120, most=500, seed=1)
    sizes = [len(text) / 3.4 for text in texts]
    assert 90 < np.mean(sizes) < 150
    assert max(sizes) <= 500
