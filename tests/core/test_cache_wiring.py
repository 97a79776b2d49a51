"""The cache and the endpoint in use: through `qvec.index`, the command line and the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
from qvec.embedders.remote import RemoteEmbedder
from qvec.embedders.remote.retrying import Retries
from qvec.embedders.remote.sending import Limits
from qvec.errors import EndpointError
from tests.core.endpoint import Endpoint

DOCS = [f"document number {number}" for number in range(30)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "QVEC_CACHE", "QVEC_BACKEND", "QVEC_MODEL", "QVEC_DIM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_second_collection_takes_its_vectors_from_the_cache(place):
    first = qvec.index("one", DOCS, backend="memory://a", model="hashing", cache=True)
    again = qvec.index("one", [*DOCS, "new"], backend="memory://b", model="hashing", cache=True)
    assert (first.embedded, first.cached) == (30, 0)
    assert (again.embedded, again.cached) == (31, 30)
    assert (first.hit_rate, again.hit_rate) == (0, 30 / 31)
    assert (place / "home" / ".cache" / "qvec" / "embeddings.sqlite").is_file()


def test_nothing_is_kept_unless_asked_for(place):
    qvec.index("one", DOCS, backend="memory://a", model="hashing")
    assert not (place / "home").exists()


def test_the_command_line_tells_what_came_from_the_cache(place):
    (place / "src").mkdir()
    (place / "src" / "a.md").write_text("# Title\n\nSome text that is to be found.\n", encoding="utf-8")
    options = ["index", "src", "--model", "hashing", "--cache", "--backend"]
    CliRunner().invoke(cli, [*options, "memory://c"], catch_exceptions=False)
    second = CliRunner().invoke(cli, [*options, "memory://d"], catch_exceptions=False)
    assert second.exit_code == 0, second.output
    assert "1 of 1 vectors (100%) from the cache" in second.stdout


def test_an_endpoint_is_a_model_like_any_other(place):
    with Endpoint() as endpoint:
        name = f"openai:{endpoint.name}"
        report = qvec.index("docs", DOCS, backend="faiss:db", model=name, dim=128, cache="kept")
        assert (report.added, report.failed) == (30, {})
        hits = qvec.search("docs", "document number 7", backend="faiss:db", k=1)
        assert hits[0].text == "document number 7"
        before = len(endpoint.log.inputs)
        again = qvec.index("more", DOCS, backend="faiss:db", model=name, dim=128, cache="kept")
        assert (again.cached, endpoint.log.inputs[before:]) == (30, [["qvec"]])


def test_an_endpoint_that_fails_stops_the_run_and_a_second_run_finishes_it(place):
    docs = [f"document number {number}" for number in range(1200)]
    with Endpoint() as endpoint:
        limits, retries = Limits(batch_texts=64, in_flight=2), Retries(tries=2, first_wait=0.01)
        with RemoteEmbedder(endpoint.name, limits=limits, retries=retries, env={}) as remote:
            served = endpoint.embed

            def breaks(texts):
                if len(endpoint.log.answered) > 10:
                    endpoint.faults.errors = 10_000
                return served(texts)

            endpoint.embed = breaks
            with pytest.raises(EndpointError, match="fell over"):
                qvec.index("docs", docs, backend="faiss:db", embedder=remote)
            # What failed is the server, so that its texts are not tried one by one.
            assert len(endpoint.log.inputs) < 40
            endpoint.embed, endpoint.faults.errors = served, 0
            report = qvec.index("docs", docs, backend="faiss:db", embedder=remote)
            assert report.failed == {}
            assert report.added + report.unchanged == 1200
            assert report.unchanged >= 512


def test_a_text_that_the_endpoint_refuses_fails_alone(place):
    with Endpoint() as endpoint, RemoteEmbedder(endpoint.name, env={}) as remote:
        endpoint.faults.refuses_text = "number 7"
        report = qvec.index("docs", DOCS, backend="memory://e", embedder=remote)
    assert (report.added, len(report.failed)) == (29, 1)
    assert "cannot be taken" in next(iter(report.failed.values()))
