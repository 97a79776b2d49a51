"""The packed forward gives what the padded one of transformers gives, whatever the lengths, and bounds its memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from transformers import Qwen3Config, Qwen3Model  # noqa: E402

from qvec.embedders.attention import (  # noqa: E402
    GroupedAttention,
    Prefix,
    VarlenAttention,
    choose_attention,
    varlen_options,
    with_prefix,
)
from qvec.embedders.compiling import CompiledLayer  # noqa: E402
from qvec.embedders.forward import PaddedForward  # noqa: E402
from qvec.embedders.graphs import Graphs, bucket, fill_up  # noqa: E402
from qvec.embedders.levers import Levers  # noqa: E402
from qvec.embedders.packed import PackedForward, can_pack  # noqa: E402
from qvec.embedders.packing import Packed, pack, packed_batches  # noqa: E402
from qvec.embedders.pooling import last  # noqa: E402
from qvec.embedders.products import has_int8, product, product_onto, rows_of, to_float8, to_int8  # noqa: E402

WORDS = 500
CPU = torch.device("cpu")
LENGTHS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 2048)), min_size=1, max_size=5)


def small_qwen3(dtype=torch.float32, **changes: object) -> Qwen3Model:
    torch.manual_seed(0)
    settings = {
        "vocab_size": WORDS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 32_768,
        "initializer_range": 0.2,
        **changes,
    }
    return Qwen3Model(Qwen3Config(**settings)).eval().requires_grad_(False).to(dtype)


def unit(rows: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(rows, dim=1).numpy()


def sequences_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(1, WORDS, length).tolist() for length in lengths]


def padded(model: Qwen3Model) -> PaddedForward:
    return PaddedForward(model, last, pad=0, causal=False)


@pytest.fixture(scope="module")
def forwards() -> tuple[PaddedForward, PackedForward]:
    return padded(small_qwen3()), PackedForward(small_qwen3())


@pytest.fixture(scope="module")
def half_forwards() -> tuple[PaddedForward, PackedForward]:
    return padded(small_qwen3(torch.bfloat16)), PackedForward(small_qwen3(torch.bfloat16))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_any_mix_of_lengths_gives_the_padded_vectors(forwards, lengths, seed):
    reference, packed = forwards
    sequences = sequences_of(lengths, seed)
    np.testing.assert_allclose(unit(packed(sequences)), unit(reference(sequences)), atol=1e-5)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(lengths=LENGTHS)
def test_bfloat16_stays_as_close_to_float32_as_the_padded_forward_does(half_forwards, forwards, lengths):
    sequences = sequences_of(lengths)
    rows = unit(half_forwards[1](sequences))
    cosines = (rows * unit(half_forwards[0](sequences))).sum(axis=1)
    assert cosines.min() > 0.9995
    assert (rows * unit(forwards[0](sequences))).sum(axis=1).min() > 0.999


@settings(max_examples=15, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), before=st.integers(1, 40))
def test_a_shared_beginning_computed_once_changes_nothing(forwards, lengths, before):
    reference, packed = forwards
    (begin,) = sequences_of([before], seed=1)
    sequences = [begin + own for own in sequences_of(lengths)]
    np.testing.assert_allclose(unit(packed(sequences, shared=before)), unit(reference(sequences)), atol=1e-5)


def test_a_shared_beginning_may_be_the_whole_of_a_sequence(forwards):
    reference, packed = forwards
    (begin,) = sequences_of([20])
    sequences = [begin, [*begin, 7, 8]]
    np.testing.assert_allclose(unit(packed(sequences, shared=20)), unit(reference(sequences)), atol=1e-5)


def test_the_keys_of_only_so_many_beginnings_are_kept(forwards):
    for begin in sequences_of([6] * 20, seed=3):
        forwards[1]([[*begin, 1], [*begin, 2]], shared=6)
    assert len(forwards[1]._prefixes) <= 8


def test_the_weights_are_not_held_twice_and_the_model_still_works():
    model = small_qwen3()
    sequences = sequences_of([3, 30])
    before = padded(model)(sequences)
    packed = PackedForward(model)
    attention = model.layers[0].self_attn
    assert attention.q_proj.weight.data_ptr() == packed._layers[0].qkv.data_ptr()
    assert attention.v_proj.weight.untyped_storage().data_ptr() == packed._layers[0].qkv.untyped_storage().data_ptr()
    np.testing.assert_array_equal(padded(model)(sequences).numpy(), before.numpy())


@pytest.mark.slow
def test_a_text_of_the_whole_window_gives_the_padded_vector():
    model = small_qwen3(num_hidden_layers=2)
    sequences = sequences_of([32_768, 5])
    expected = np.concatenate([unit(padded(model)([sequence])) for sequence in sequences])
    np.testing.assert_allclose(unit(PackedForward(model)(sequences)), expected, atol=1e-5)


def test_a_packed_row_restarts_positions_at_each_sequence():
    row = pack([[5, 6, 7], [8], [9, 10]], CPU)
    assert row.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert row.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert row.starts.tolist() == [0, 3, 4, 6]
    assert row.last.tolist() == [2, 3, 5]
    assert row.lengths == [3, 1, 2]


def test_a_packed_row_without_a_shared_beginning_keeps_the_positions():
    row = pack([[5, 6, 7], [5, 6, 8, 9]], CPU, skip=2)
    assert (row.ids.tolist(), row.positions.tolist()) == ([7, 8, 9], [2, 2, 3])


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 300), max_size=60), budget=st.integers(1, 1000))
def test_packed_batches_hold_every_text_once_within_the_budget_longest_first(lengths, budget):
    batches = packed_batches(lengths, budget)
    flat = [at for batch in batches for at in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[at] for at in flat] == sorted(lengths, reverse=True)
    assert all(sum(lengths[at] for at in batch) <= budget or len(batch) == 1 for batch in batches)


@pytest.mark.parametrize(
    "change",
    [
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"is_causal": False},
        {"model_type": "qwen2"},
        {"quantization_config": {"quant_method": "fp8"}},
    ],
)
def test_another_arithmetic_is_left_to_the_padded_forward(change):
    config = small_qwen3(num_hidden_layers=1).config
    assert can_pack(config, "last")
    for key, value in change.items():
        setattr(config, key, value)
    assert not can_pack(config, "last")


def test_another_pooling_is_left_to_the_padded_forward():
    assert not can_pack(small_qwen3(num_hidden_layers=1).config, "mean")


def test_frequencies_that_change_with_the_length_are_left_to_the_padded_forward():
    rope = {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}
    config = small_qwen3(num_hidden_layers=1).config
    name = "rope_parameters" if hasattr(config, "rope_parameters") else "rope_scaling"
    setattr(config, name, rope)
    assert not can_pack(config, "last")


def test_scaled_frequencies_give_the_padded_vectors():
    rope = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64}
    name = "rope_parameters" if hasattr(small_qwen3(num_hidden_layers=1).config, "rope_parameters") else "rope_scaling"
    model = small_qwen3(**{name: rope})
    sequences = sequences_of([1, 90, 200])
    expected = unit(padded(model)(sequences))
    np.testing.assert_allclose(unit(PackedForward(model)(sequences)), expected, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_layer_gives_the_padded_vectors_of_batches_of_any_shape(forwards):
    compiled = PackedForward(small_qwen3(), Levers(compiled=True))
    for lengths in ([700, 700, 1], [2000], [40] * 30):
        sequences = sequences_of(lengths)
        np.testing.assert_allclose(unit(compiled(sequences)), unit(forwards[0](sequences)), atol=1e-5)


def test_where_nothing_compiles_the_plain_layer_runs_and_it_is_said_once(caplog):
    layer = CompiledLayer(small_qwen3, GroupedAttention(), enabled=True)
    row = Packed(torch.zeros(5000, device="meta"), torch.zeros(1), torch.zeros(1), [5000])
    assert layer.layer(row, (torch.zeros(1), torch.zeros(1))) is None
    assert layer.layer(row, (torch.zeros(1), torch.zeros(1))) is None
    assert len(caplog.records) == 1


def test_cuda_in_half_precision_takes_the_kernel_for_variable_lengths_and_others_the_grouped_one():
    assert isinstance(choose_attention(torch.device("cuda"), torch.bfloat16), VarlenAttention)
    assert isinstance(choose_attention(torch.device("cuda"), torch.float32), GroupedAttention)
    assert isinstance(choose_attention(CPU, torch.bfloat16), GroupedAttention)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ({"is_causal", "return_aux"}, {"is_causal": True}),
        ({"window_size", "scale"}, {"window_size": (-1, 0)}),
        ({"window_size", "scale", "enable_gqa"}, {"window_size": (-1, 0), "enable_gqa": True}),
    ],
)
def test_each_version_of_the_kernel_is_asked_in_its_words(names, options):
    assert varlen_options(frozenset(names), causal=True, shared=True) == options


def test_keys_behind_a_prefix_lie_as_the_kernel_reads_them():
    own = torch.arange(3.0).view(3, 1, 1)
    prefix = Prefix(torch.full((2, 1, 1), 8.0), torch.full((2, 1, 1), 9.0))
    starts = torch.tensor([0, 2, 3], dtype=torch.int32)
    keys, values, begin, before = with_prefix(own, own, starts, [2, 1], prefix)
    assert keys.flatten().tolist() == [8, 8, 0, 1, 8, 8, 2]
    assert values.flatten().tolist() == [9, 9, 0, 1, 9, 9, 2]
    assert (begin.tolist(), begin.dtype, before) == ([0, 4, 7], torch.int32, 2)


def test_float8_weights_keep_vectors_close():
    sequences = sequences_of([3, 40, 200])
    exact = unit(PackedForward(small_qwen3())(sequences))
    rough = unit(PackedForward(small_qwen3(), Levers(float8=True))(sequences))
    assert 0.95 < (exact * rough).sum(axis=1).min() < 0.99999


def test_int8_weights_keep_vectors_close():
    sequences = sequences_of([3, 40, 200])
    exact = unit(PackedForward(small_qwen3())(sequences))
    before = sequences_of([8])[0]
    rough = PackedForward(small_qwen3(), Levers(int8=True))
    assert 0.97 < (exact * unit(rough(sequences))).sum(axis=1).min() < 0.99999
    together = [before + sequence for sequence in sequences]
    np.testing.assert_allclose(unit(rough(together, shared=len(before))), unit(rough(together)), atol=0.05)


def test_int8_products_do_not_overflow_where_all_is_at_its_largest():
    states, matrix = torch.ones(4, 1024), torch.ones(64, 1024)
    np.testing.assert_allclose(product(-states, to_int8(matrix)).numpy(), -1024, rtol=1e-5)
    np.testing.assert_allclose(product_onto(states[:, :64], states, to_int8(matrix)).numpy(), 1025, rtol=1e-5)
    np.testing.assert_allclose(product(states, rows_of(to_int8(matrix), 3, 5)).numpy(), 1024, rtol=1e-5)


def test_int8_is_for_the_cpu_alone():
    assert has_int8(CPU)
    assert not has_int8(torch.device("cuda"))


def test_float8_rows_keep_their_own_scale():
    matrix = torch.tensor([[1e-4, -2e-4], [300.0, 7.0], [0.0, 0.0]])
    found = to_float8(matrix)
    np.testing.assert_allclose((found.values.float() * found.scales).numpy(), matrix.numpy(), rtol=0.07)


@settings(deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_a_batch_filled_up_to_the_size_of_a_graph_is_a_sound_row(lengths):
    row = pack(sequences_of(lengths), CPU)
    tokens, sequences = bucket(row)
    filled = fill_up(row, tokens, sequences)
    assert len(filled.ids) == len(filled.positions) == tokens == sum(filled.lengths)
    assert len(filled.lengths) == len(filled.starts) - 1 == sequences
    assert min(filled.lengths) >= 1
    assert filled.starts.dtype == torch.int32
    assert filled.starts.diff().tolist() == filled.lengths
    assert filled.lengths[: len(lengths)] == lengths


def test_what_fills_a_batch_up_changes_no_vector(forwards):
    sequences = sequences_of([9, 4, 20])
    row = pack(sequences, CPU)
    with torch.inference_mode():
        filled = forwards[1]._run(fill_up(row, *bucket(row)), None)
    np.testing.assert_allclose(unit(filled[:3]), unit(forwards[0](sequences)), atol=1e-5)


def test_no_graph_is_recorded_away_from_cuda(forwards):
    assert Graphs(forwards[1]._run)(pack(sequences_of([3]), CPU)) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("levers", [Levers(), Levers(graphs=True), Levers(compiled=True), Levers(float8=True)])
def test_every_lever_on_cuda_stays_close_to_float32(levers, forwards):
    packed = PackedForward(small_qwen3(torch.bfloat16).to("cuda"), levers)
    for lengths in ([5], [9, 4, 20], [9, 3, 21], [700, 700, 1]):
        sequences = sequences_of(lengths)
        exact = unit(forwards[0](sequences))
        for shared in (0, 4):
            begun = [sequences[0][:4] + sequence for sequence in sequences]
            expected = unit(forwards[0](begun)) if shared else exact
            found = unit(packed(begun if shared else sequences, shared=shared).cpu())
            assert (found * expected).sum(axis=1).min() > 0.95
