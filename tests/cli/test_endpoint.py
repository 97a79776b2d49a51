"""``qvec doctor --endpoint`` against a real server that is broken in each way: it has to find out which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from qvec.cli.app import cli
from qvec.embedders.bundled import BundledEmbedder, write_hugging_face
from tests.core.endpoint import MODEL, Endpoint, Faults, transformer
from tests.models import write_qwen3


@pytest.fixture(scope="module")
def local() -> BundledEmbedder:
    return BundledEmbedder(threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    place = tmp_path_factory.mktemp("bundled")
    write_hugging_face(place)
    return place


def examine(endpoint: Endpoint, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    result = CliRunner().invoke(cli, ["doctor", "--endpoint", endpoint.url, "--json", *options])
    assert result.exit_code in {0, 1}, result.output
    report = json.loads(result.stdout)
    assert report["healthy"] == (result.exit_code == 0)
    return result.exit_code, {item["name"]: (item["verdict"], item["measured"]) for item in report["findings"]}


def test_a_right_server_has_no_fault(local):
    with Endpoint(Faults(refuses_words=300), local.encode_document) as endpoint:
        code, findings = examine(endpoint)
    verdicts = {name: verdict for name, (verdict, _) in findings.items()}
    assert code == 0
    assert verdicts.pop("pooling") == "unknown"
    assert verdicts.pop("newlines") == "note"
    assert set(verdicts.values()) == {"ok"}


@pytest.mark.parametrize(
    ("faults", "name", "verdict", "measured"),
    [
        ({"scale": 3.0}, "norm", "note", "not normalised: length 3.0"),
        ({"refuses_base64": True}, "encodings", "note", "base64 refused with HTTP 422"),
        ({"refuses_dimensions": True}, "dimensions", "note", "refused with HTTP 400"),
        ({"ignores_dimensions": True}, "dimensions", "note", "asked for 128, got 256"),
        ({"batch_limit": 13}, "batch", "note", "at most 13 texts"),
        ({"batch_limit": 100, "batch_limit_status": 422}, "batch", "note", "at most 100 texts"),
        ({"reversed_data": True}, "order", "note", "answered out of order, numbered rightly"),
        ({"wrong_index": True}, "order", "fault", "8 of 8 vectors belong to another text"),
        ({"same_index": True}, "order", "fault", "numbered a vector 0"),
        ({"drops_one": True}, "order", "fault", "7 vectors for 8 texts"),
        ({"nan_for": "CSV"}, "numbers", "fault", "for 2 of 8 texts"),
        ({"refuses_words": 200}, "window", "ok", "refused with HTTP 400 beyond about"),
    ],
    ids=str,
)
def test_a_fault_is_measured_and_named(local, faults, name, verdict, measured):
    with Endpoint(Faults(**{"refuses_words": 300, "batch_limit": 32, **faults}), local.encode_document) as endpoint:
        code, findings = examine(endpoint)
    assert findings[name][0] == verdict
    assert measured in findings[name][1]
    assert code == (verdict == "fault")


def test_a_cut_in_silence_is_found_where_it_happens(local):
    with Endpoint(Faults(cuts_words=500), local.encode_document) as endpoint:
        code, findings = examine(endpoint)
    verdict, measured = findings["window"]
    assert (code, verdict) == (1, "fault")
    assert 480 <= int(measured.split("about ")[1].split()[0].replace(",", "")) <= 500


def test_a_server_that_answers_by_chance_is_found(local):
    import numpy as np

    noise = np.random.default_rng(0)
    with Endpoint(
        Faults(refuses_words=300),
        lambda texts: local.encode_document(texts) + noise.normal(0, 0.05, (len(texts), 256)).astype(np.float32),
    ) as endpoint:
        _, findings = examine(endpoint)
    assert findings["repeats"][0] == "fault"


@pytest.mark.parametrize(
    ("pooling", "end", "verdict", "measured"),
    [
        ("last", True, "ok", "with last pooling and one end mark"),
        ("last", False, "fault", "end mark missing"),
        ("mean", True, "fault", "pools by mean, not last"),
        ("mean", False, "fault", "pools by mean, not last and end mark missing"),
        ("max", True, "fault", "pools by max, not last"),
    ],
)
def test_pooling_and_end_mark_are_found_by_the_reference(folder, pooling, end, verdict, measured):
    served = transformer(folder, pooling=pooling, end=end)
    with Endpoint(Faults(refuses_words=40, batch_limit=8), served) as endpoint:
        _, findings = examine(endpoint, "--reference", str(folder))
    assert findings["pooling"][0] == verdict
    assert measured in findings["pooling"][1]


@pytest.mark.parametrize(("swallows", "verdict"), [(True, "fault"), (False, "ok")])
def test_swallowed_newlines_are_found_by_the_reference(tmp_path, swallows, verdict):
    pytest.importorskip("transformers")
    folder = write_qwen3(tmp_path)
    with Endpoint(Faults(refuses_words=40, batch_limit=8), transformer(folder)) as endpoint:
        _, plain = examine(endpoint)
        assert plain["newlines"][0] == "ok"
        endpoint.faults.swallows_newlines = swallows
        _, findings = examine(endpoint, "--reference", str(folder))
    assert findings["newlines"][0] == verdict


def test_another_model_than_the_reference_is_found(folder, local):
    import numpy as np

    turned = np.roll(np.eye(256, dtype=np.float32), 7, axis=0)
    with Endpoint(Faults(refuses_words=40), lambda texts: local.encode_document(texts) @ turned) as endpoint:
        _, findings = examine(endpoint, "--reference", str(folder))
    assert findings["pooling"][0] == "fault"
    assert "no other way fits" in findings["pooling"][1]


def test_the_report_is_readable(local):
    with Endpoint(Faults(scale=2.0, refuses_words=300), local.encode_document) as endpoint:
        result = CliRunner().invoke(cli, ["doctor", "--endpoint", endpoint.url, "--model", MODEL])
    assert result.exit_code == 0
    assert f"{MODEL} at {endpoint.url}: 256 dims, window 4,096 tokens" in result.stdout
    assert "not normalised: length 2.0000 to 2.0000 -> qvec does it" in result.stdout


def test_an_endpoint_that_is_not_there_is_an_error():
    result = CliRunner().invoke(cli, ["doctor", "--endpoint", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "start the server" in result.stderr


def test_the_options_of_the_probe_go_with_it():
    assert CliRunner().invoke(cli, ["doctor", "--model", "x"]).exit_code == 2
