"""The bundled model as an ordinary Hugging Face folder gives the same vectors."""

import numpy as np
import pytest

from qvec.embedders.bundled import DIMS, BundledEmbedder, write_hugging_face

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

TEXTS = [
    "",
    "读取CSV文件",
    "!!!",
    "def readCsv(path):\n    return open(path)",
    "мир и война",
    "open file " * 2000,
    "\n".join(f"row_{at} = read(table, {at})" for at in range(700)),
    "ｗｉｄｅ",
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from qvec.embedders.transformer import TransformerEmbedder

    folder = tmp_path_factory.mktemp("exported")
    write_hugging_face(folder)
    return BundledEmbedder(dim=DIMS[-1]), TransformerEmbedder(str(folder), device="cpu", dtype="float32")


def test_documents_have_equal_vectors(pair):
    ours, theirs = pair
    cosines = (ours.encode_document(TEXTS) * theirs.encode_document(TEXTS)).sum(1)
    assert float(cosines.min()) > 0.9999


@pytest.mark.parametrize("instruction", [None, "web_search", "Find the test that covers this"])
def test_queries_have_equal_vectors(pair, instruction):
    ours, theirs = pair
    ours_rows = ours.encode_query(TEXTS, instruction=instruction)
    cosines = (ours_rows * theirs.encode_query(TEXTS, instruction=instruction)).sum(1)
    assert float(cosines.min()) > 0.9999


def test_the_passport_is_the_same(pair):
    ours, theirs = pair
    assert ours.count_tokens(TEXTS) == theirs.count_tokens(TEXTS)
    assert (ours.dim, ours.max_tokens, ours.pooling, ours.prompt_digest) == (
        theirs.dim,
        theirs.max_tokens,
        theirs.pooling,
        theirs.prompt_digest,
    )
    assert np.float32 == ours.encode_document(["x"]).dtype
