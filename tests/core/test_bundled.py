"""The bundled model loads fast, embeds anything, finds what it should, and refuses damaged files."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.bundled import DIMS, FOLDER, BundledEmbedder
from qvec.errors import ConfigError, EmbeddingError, InvalidInputError, TextTooLongError
from qvec.registry import load_embedder

CODE = [
    'def load_table(path):\n    with open(path, newline="") as file:\n        return list(csv.reader(file))',
    "def file_sha256(path):\n    digest = hashlib.sha256()\n    digest.update(path.read_bytes())\n    return digest",
    "def send_mail(message, attachment):\n    server = smtplib.SMTP(host)\n    server.send_message(message)",
    "def parse_arguments(argv):\n    parser = argparse.ArgumentParser()\n    return parser.parse_args(argv)",
    "def make_temporary_directory():\n    return tempfile.mkdtemp(prefix='x')",
    "def random_shuffle(items):\n    random.shuffle(items)\n    return items",
]


@pytest.fixture(scope="module")
def model() -> BundledEmbedder:
    return BundledEmbedder()


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "model")


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("读取CSV文件", 0),
        ("计算文件的SHA256哈希", 1),
        ("发送带附件的邮件", 2),
        ("parse command line arguments", 3),
        ("创建临时目录", 4),
        ("随机打乱列表", 5),
    ],
)
def test_a_query_of_either_language_finds_its_function(model, query, best):
    scores = model.encode_query([query]) @ model.encode_document(CODE).T
    assert int(scores.argmax()) == best


def test_it_is_an_embedder_that_the_registry_gives_by_default():
    found = load_embedder("bundled", dim=64)
    assert isinstance(found, Embedder)
    assert (found.model_id, found.dim, found.pooling) == ("bundled", 64, "last")


@pytest.mark.parametrize("dim", DIMS)
def test_a_narrower_vector_is_the_wider_one_cut_and_normalised(dim):
    whole = BundledEmbedder(dim=DIMS[-1]).encode_document(CODE)[:, :dim]
    cut = BundledEmbedder(dim=dim).encode_document(CODE)
    assert cut.shape == (len(CODE), dim)
    assert cut.dtype == np.float32
    assert cut.flags.c_contiguous
    np.testing.assert_allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "!!! ... ???",
        "\n\t\n",
        "😀🎉",
        "ꙮ𓀀𐎀",
        "ᚠᛇᚻ",
        "a" * 4000,
        "\u200b\ufeff",
        "\x01\x7f",
        "e\u0301" * 50,
        "ﷺ" * 20,
    ],
)
def test_any_text_gets_a_unit_vector(model, text):
    for vector in (model.encode_document([text])[0], model.encode_query([text])[0]):
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", 3, None])
def test_what_no_database_can_hold_is_refused(model, text):
    with pytest.raises(EmbeddingError, match="text 1"):
        model.encode_document(["fine", text])


def test_no_texts_give_no_rows(model):
    assert model.encode_document([]).shape == (0, 256)
    assert model.encode_query([]).shape == (0, 256)


def test_a_text_over_the_window_is_refused_by_position_and_length(model):
    long = "open file close " * 40_000
    with pytest.raises(TextTooLongError) as caught:
        model.encode_document(["short", long])
    assert caught.value.lengths == {1: model.count_tokens([long])[0]}
    assert caught.value.limit == model.max_tokens


def test_a_hundred_kilobytes_of_one_letter_are_counted_not_cut(model):
    text = "x" * 100_000
    (count,) = model.count_tokens([text])
    if count <= model.max_tokens:
        assert np.isfinite(model.encode_document([text])).all()
    else:
        with pytest.raises(TextTooLongError):
            model.encode_document([text])


def test_a_text_at_the_window_equals_itself_in_pieces(model):
    words = " ".join(["open", "file"] * ((model.max_tokens - 1) // 2))
    assert model.count_tokens([words])[0] <= model.max_tokens
    short = " ".join(["open", "file"] * 600)
    assert float((model.encode_document([words]) @ model.encode_document([short]).T).item()) > 0.99


def test_batched_equals_single_and_threads_change_nothing(model):
    texts = [f"{text}\n# {i}" for i in range(60) for text in CODE]
    batched = model.encode_document(texts)
    single = np.concatenate([model.encode_document([text]) for text in texts[:20]])
    np.testing.assert_allclose(batched[:20], single, atol=1e-5)
    np.testing.assert_allclose(batched, BundledEmbedder(threads=1).encode_document(texts), atol=1e-5)
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(model.encode_document, [texts] * 4):
            np.testing.assert_allclose(again, batched, atol=1e-5)


def test_what_a_text_begins_with_counts_most(model):
    query = model.encode_query(["send an email"])
    filler = "    total = sum(width * height for width, height in boxes)\n" * 8
    texts = ["def send_email():\n" + filler, filler + "def send_email():\n"]
    first, last = (model.encode_document(texts) @ query.T)[:, 0]
    assert first > last + 0.1


def test_a_query_is_not_embedded_like_a_document_and_heeds_its_instruction(model):
    document, query = model.encode_document(["sort a list"]), model.encode_query(["sort a list"])
    other = model.encode_query(["sort a list"], instruction="translation")
    assert not np.allclose(document, query, atol=1e-3)
    assert not np.allclose(query, other, atol=1e-3)
    np.testing.assert_array_equal(other, BundledEmbedder(instruction="translation").encode_query(["sort a list"]))


def test_a_preset_that_does_not_exist_is_named(model):
    with pytest.raises(InvalidInputError, match="code_search"):
        model.encode_query(["x"], instruction="code_serch")


@pytest.mark.parametrize("options", [{"dim": 48}, {"dim": 512}, {"threads": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        BundledEmbedder(**options)


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_refused_with_its_name(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(EmbeddingError, match=f"{name}.*damaged.*install qvec again"):
        BundledEmbedder(folder=copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_refused_with_its_folder(copy, name):
    (copy / name).unlink()
    with pytest.raises(EmbeddingError, match="install qvec again"):
        BundledEmbedder(folder=copy)


def test_a_truncated_file_is_refused(copy):
    data = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(data[:1000])
    with pytest.raises(EmbeddingError, match="damaged"):
        BundledEmbedder(folder=copy)


def test_a_config_that_is_no_json_is_refused(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(EmbeddingError, match="cannot be read"):
        BundledEmbedder(folder=copy)


def test_the_files_fit_into_sixteen_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 16 * 2**20


def test_the_revision_names_the_weights(model):
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["weights_sha256"].startswith(model.revision)


def test_neither_torch_nor_transformers_is_imported():
    script = (
        "import sys; from qvec.embedders.bundled import BundledEmbedder; BundledEmbedder().encode_query(['x']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
