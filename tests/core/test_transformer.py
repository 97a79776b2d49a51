"""What the transformer embedder promises, on a small random Qwen3 with the true tokenizer."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders import pooling
from qvec.embedders.forward import token_batches
from qvec.embedders.instructions import Prompts
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import ConfigError, EmbeddingError, InvalidInputError, TextTooLongError
from qvec.registry import load_embedder
from tests.models import EOS, QWEN_DIM, QWEN_QUERY, write_qwen3

torch = pytest.importorskip("torch")

TEXTS = ["读取CSV文件", "x = 1\n" * 150, "a", "", "open a file and read its lines", "a\n    b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> TransformerEmbedder:
    return TransformerEmbedder(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def model(folder: Path):
    from transformers import AutoModel

    return AutoModel.from_pretrained(str(folder)).eval()


def hidden_states(model, ids: list[list[int]], *, left: bool) -> tuple[object, object]:
    width = max(map(len, ids))
    pads = [[EOS] * (width - len(row)) for row in ids]
    padded = [pad + row if left else row + pad for pad, row in zip(pads, ids, strict=True)]
    ones = [[1] * len(row) for row in ids]
    zeros = [[0] * len(pad) for pad in pads]
    mask = torch.tensor([z + o if left else o + z for z, o in zip(zeros, ones, strict=True)])
    with torch.inference_mode():
        return model(input_ids=torch.tensor(padded), attention_mask=mask).last_hidden_state, mask


def test_it_is_an_embedder_and_says_what_it_is(embedder, folder):
    assert isinstance(embedder, Embedder)
    assert (embedder.model_id, embedder.dim, embedder.max_tokens) == (str(folder), QWEN_DIM, 32_768)
    assert embedder.pooling == "last"
    assert len(embedder.revision) == 16


def test_rows_are_contiguous_float32_of_unit_length(embedder):
    rows = embedder.encode_document(TEXTS)
    assert (rows.shape, rows.dtype, rows.flags.c_contiguous) == ((len(TEXTS), QWEN_DIM), np.float32, True)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows(embedder):
    assert embedder.encode_document([]).shape == (0, QWEN_DIM)


@pytest.mark.parametrize("budget", [1, 40, 100_000])
def test_a_batch_gives_what_each_text_gives_alone(folder, embedder, budget):
    batched = TransformerEmbedder(str(folder), device="cpu", dtype="float32", batch_tokens=budget).encode_document(
        TEXTS
    )
    single = np.concatenate([embedder.encode_document([text]) for text in TEXTS])
    np.testing.assert_allclose(batched, single, atol=1e-3)


def test_the_tokens_of_a_query_are_the_published_ones(embedder):
    query = embedder.prompts.query_prefix(None) + "hello"
    assert query == QWEN_QUERY + "hello"
    (ids,) = embedder._tokenize([query])
    assert ids[-3:] == [25, 14990, EOS]
    assert ids.count(EOS) == 1


def test_the_end_is_set_once_and_an_empty_text_is_the_end_alone(embedder):
    assert embedder._tokenize(["hello", ""]) == [[14990, EOS], [EOS]]
    assert embedder.count_tokens(["hello", ""]) == [2, 1]


@pytest.mark.parametrize("times", [0, 2])
def test_the_end_is_set_once_whatever_the_tokenizer_adds(folder, tmp_path, embedder, times):
    from tokenizers import Tokenizer, processors

    for file in folder.rglob("*"):
        if file.is_file():
            (tmp_path / file.relative_to(folder)).parent.mkdir(exist_ok=True)
            (tmp_path / file.relative_to(folder)).symlink_to(file)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = " ".join(["$A", *["<|endoftext|>"] * times])
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<|endoftext|>", EOS)])
    (tmp_path / "tokenizer.json").unlink()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    other = TransformerEmbedder(str(tmp_path), device="cpu", dtype="float32")
    assert other._tokenize(["hello"]) == [[14990, EOS]]
    np.testing.assert_allclose(other.encode_document(TEXTS), embedder.encode_document(TEXTS), atol=1e-6)


def test_a_query_is_embedded_unlike_the_same_document(embedder):
    assert np.abs(embedder.encode_query(["read a file"]) - embedder.encode_document(["read a file"])).max() > 0.01


def test_a_query_equals_the_document_that_spells_out_the_template(embedder):
    np.testing.assert_allclose(
        embedder.encode_query(["read a file"]), embedder.encode_document([QWEN_QUERY + "read a file"]), atol=1e-6
    )


@pytest.mark.parametrize("instruction", ["code_search", "similarity", "Given a bug report, retrieve the faulty code"])
def test_an_instruction_changes_the_vector(embedder, instruction):
    asked = embedder.encode_query(["read a file"], instruction=instruction)
    assert np.abs(asked - embedder.encode_query(["read a file"])).max() > 0.01


def test_the_default_instruction_can_be_set(folder, embedder):
    coder = TransformerEmbedder(str(folder), device="cpu", dtype="float32", instruction="code_search")
    np.testing.assert_allclose(
        coder.encode_query(["read"]), embedder.encode_query(["read"], instruction="code_search"), atol=1e-6
    )
    assert coder.prompt_digest == embedder.prompt_digest


def test_own_prefixes_replace_those_of_the_folder(folder, embedder):
    own = TransformerEmbedder(str(folder), device="cpu", dtype="float32", prompts=Prompts("query: ", "passage: "))
    np.testing.assert_allclose(own.encode_document(["a"]), embedder.encode_document(["passage: a"]), atol=1e-6)
    assert own.prompt_digest != embedder.prompt_digest


def test_newlines_and_indentation_survive(embedder, model):
    code, flat = embedder.encode_document(["a\n    b", "a b"])
    hidden, mask = hidden_states(model, embedder._tokenize(["a\n    b"]), left=False)
    expected = pooling.last(hidden, mask)[0].numpy()
    np.testing.assert_allclose(code, expected / np.linalg.norm(expected), atol=1e-3)
    assert np.abs(code - flat).max() > 0.01


@pytest.mark.parametrize("pool", [pooling.last, pooling.mean, pooling.first, pooling.maximum])
def test_pooling_is_the_same_with_padding_on_either_side(embedder, model, pool):
    ids = embedder._tokenize(TEXTS)
    left, right = (pool(*hidden_states(model, ids, left=side)) for side in (True, False))
    np.testing.assert_allclose(left, right, atol=1e-3, rtol=1e-3)


def test_the_last_token_of_left_padded_rows_is_what_the_embedder_returns(embedder, model):
    expected = pooling.last(*hidden_states(model, embedder._tokenize(TEXTS), left=True)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.encode_document(TEXTS), expected, atol=1e-3)


def test_threads_on_one_embedder_get_their_own_rows(embedder):
    found: dict[str, np.ndarray] = {}

    def embed(text: str) -> None:
        found[text] = embedder.encode_document([text])[0]

    threads = [threading.Thread(target=embed, args=(text,)) for text in TEXTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([found[text] for text in TEXTS], embedder.encode_document(TEXTS), atol=1e-3)


def test_batches_hold_every_text_once_within_the_budget_longest_first():
    lengths = [3, 50, 7, 7, 1, 120, 2]
    batches = token_batches(lengths, 100)
    assert sorted(at for batch in batches for at in batch) == list(range(7))
    assert [lengths[at] for batch in batches for at in batch] == sorted(lengths, reverse=True)
    assert batches[0] == [5]
    assert all(max(lengths[at] for at in batch) * len(batch) <= 100 for batch in batches[1:])


def test_texts_over_the_window_are_refused_by_position_and_length(folder):
    narrow = TransformerEmbedder(str(folder), device="cpu", dtype="float32", max_tokens=4)
    with pytest.raises(TextTooLongError) as caught:
        narrow.encode_document(["hello", "a " * 30, "", "one two three four"])
    assert (set(caught.value.lengths), caught.value.limit) == ({1, 3}, 4)
    assert caught.value.lengths == dict(
        zip([1, 3], narrow.count_tokens(["a " * 30, "one two three four"]), strict=True)
    )


def test_the_instruction_counts_towards_the_window(folder):
    with pytest.raises(TextTooLongError):
        TransformerEmbedder(str(folder), device="cpu", dtype="float32", max_tokens=8).encode_query(["hello"])


@pytest.mark.parametrize(
    ("bad", "why"), [(None, "NoneType"), (b"x", "bytes"), ("a\0b", "NUL"), ("\udc80", "surrogate")]
)
def test_what_is_no_text_is_refused_by_position(embedder, bad, why):
    with pytest.raises(EmbeddingError, match=f"text 2 .*{why}"):
        embedder.encode_document(["fine", "", bad])


def test_a_bare_string_is_refused(embedder):
    with pytest.raises(EmbeddingError, match="list"):
        embedder.encode_query("read a file")


@pytest.mark.parametrize("dim", [0, 31, QWEN_DIM + 1, -5])
def test_a_dim_out_of_range_is_refused(folder, dim):
    with pytest.raises(ConfigError, match=f"32 to {QWEN_DIM}"):
        TransformerEmbedder(str(folder), device="cpu", dtype="float32", dim=dim)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "int3"},
        {"device": "tpu9"},
        {"pooling": "best"},
        {"max_tokens": 0},
        {"max_tokens": 99_999},
        {"batch_tokens": 0},
        {"revision": "main"},
    ],
)
def test_an_option_out_of_range_is_refused(folder, options):
    with pytest.raises(ConfigError):
        TransformerEmbedder(str(folder), **{"device": "cpu", **options})


def test_an_unknown_instruction_is_refused(embedder):
    with pytest.raises(InvalidInputError, match="code_search"):
        embedder.encode_query(["a"], instruction="codesearch")


def test_the_registry_loads_a_folder_by_its_name(folder):
    assert load_embedder(str(folder), dim=32).dim == 32
    assert load_embedder(f"transformer:{folder}").model_id == str(folder)


def test_the_registry_asks_for_a_name():
    with pytest.raises(ConfigError, match="Qwen/Qwen3-Embedding"):
        load_embedder("transformer")


def test_bfloat16_stays_close_to_float32(folder, embedder):
    rows = TransformerEmbedder(str(folder), device="cpu", dtype="bfloat16").encode_document(TEXTS)
    assert rows.dtype == np.float32
    assert (rows * embedder.encode_document(TEXTS)).sum(axis=1).min() > 0.99


def test_importing_the_module_imports_no_torch():
    code = "import sys, qvec.embedders.transformer; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


SCARCE_MEMORY = """
import pathlib, resource, sys
import numpy as np
from qvec.embedders.transformer import TransformerEmbedder
from qvec.errors import EmbeddingError
embedder = TransformerEmbedder(sys.argv[1], device="cpu", dtype="float32", batch_tokens=1_000_000)
texts = ["word " * 1500 + str(number) for number in range(16)]
expected = np.concatenate([embedder.encode_document([text]) for text in texts])
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 16 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(np.abs(embedder.encode_document(texts) - expected).max() < 1e-3, 100 < embedder.batch_tokens < 24_100)
try:
    embedder.encode_document(["word " * 16_000])
except EmbeddingError as exc:
    print(exc)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_batch_beyond_the_memory_is_halved_and_a_text_beyond_it_refused(folder):
    found = subprocess.run(
        [sys.executable, "-c", SCARCE_MEMORY, str(folder)], capture_output=True, text=True, check=True
    )
    fits, refusal = found.stdout.splitlines()
    assert fits == "True True"
    assert "halving" in found.stderr
    assert "no memory on cpu for a text of 16002 tokens" in refusal


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_what_the_cpu_gives(folder, embedder):
    exact = TransformerEmbedder(str(folder), device="cuda", dtype="float32")
    np.testing.assert_allclose(exact.encode_document(TEXTS), embedder.encode_document(TEXTS), atol=1e-3)
    fast = TransformerEmbedder(str(folder))
    assert (fast.encode_document(TEXTS) * embedder.encode_document(TEXTS)).sum(axis=1).min() > 0.99
