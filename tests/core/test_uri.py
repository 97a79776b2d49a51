"""Addresses: read, written back, and never shown with their secret."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.errors import ConfigError
from qvec.uri import URI, without_secrets

SECRETS = [
    "postgresql://me:hunter2@host:5432/db",
    "postgresql://:hunter2@host/db",
    "milvus://host:19530?token=hunter2",
    "milvus://host?Token=hunter2&db=x",
    "elasticsearch://host?api_key=hunter2",
    "postgresql://host/db?password=hunter2&sslmode=require",
    "postgresql://host/db?passwd=hunter2",
    "milvus://host?access_token=hunter2",
]
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
HOSTS = st.sampled_from(["", "host", "db.example.org", "127.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory://", URI("memory")),
        ("milvus:///data/a.db", URI("milvus", path="/data/a.db")),
        ("milvus://./data/a.db", URI("milvus", path="./data/a.db")),
        ("milvus://../a.db", URI("milvus", path="../a.db")),
        ("milvus://./a@b.db", URI("milvus", path="./a@b.db")),
        ("milvus:a/b.db", URI("milvus", path="a/b.db")),
        ("faiss:///with%20space/%E8%AF%BB", URI("faiss", path="/with space/读")),
        ("postgresql+pooled://u@h/db", URI("postgresql", variant="pooled", user="u", host="h", path="/db")),
        (
            "pgvector://u:p%40%2F%3A@h:5432/db",
            URI("pgvector", user="u", password="p@/:", host="h", port=5432, path="/db"),
        ),
        ("pgvector://[::1]:5432/db", URI("pgvector", host="::1", port=5432, path="/db")),
        ("milvus://h?a=1&b=&c=x%26y", URI("milvus", host="h", options={"a": "1", "b": "", "c": "x&y"})),
    ],
)
def test_an_address_is_read_into_its_parts(text: str, expected: URI):
    assert URI.parse(text) == expected


@pytest.mark.parametrize("text", ["", "milvus", "/path/only", "a b://x", "milvus.db"])
def test_what_has_no_scheme_is_refused(text: str):
    with pytest.raises(ConfigError, match="looks like"):
        URI.parse(text)


@pytest.mark.parametrize("port", ["x", "99999", "-1"])
def test_a_port_that_is_none_is_refused(port: str):
    with pytest.raises(ConfigError, match="port"):
        URI.parse(f"milvus://host:{port}")


@pytest.mark.parametrize("text", SECRETS)
def test_the_secret_is_not_shown(text: str):
    uri = URI.parse(text)
    assert "hunter2" not in f"{uri} {uri!r} {uri.__str__()}"
    assert "***" in str(uri)
    assert "hunter2" in uri.reveal()


def test_an_unknown_option_is_refused_without_its_value():
    uri = URI.parse("milvus://me:hunter2@host?typo=hunter2")
    with pytest.raises(ConfigError, match=r"unknown option 'typo'.*known: db, token") as caught:
        uri.check_options(frozenset({"token", "db"}))
    assert "hunter2" not in str(caught.value)
    uri.check_options(frozenset({"typo"}))


@pytest.mark.parametrize(
    "password", ["hun/ter2", "hun?ter2", "hun#ter2", "hun[ter2", "hun]ter2", "12?ter2", "12#ter2", "12/ter2", "ter2℀"]
)
def test_a_password_that_was_not_encoded_is_refused_and_not_shown(password: str):
    with pytest.raises(ConfigError) as caught:
        URI.parse(f"postgresql://me:{password}@host/db")
    shown = "".join(traceback.format_exception(caught.value))
    assert "hun" not in shown
    assert "ter2" not in shown


@given(
    scheme=st.sampled_from(["milvus", "postgresql"]),
    variant=st.sampled_from(["", "pooled"]),
    user=st.just("") | TEXT,
    password=st.just("") | TEXT,
    host=HOSTS,
    port=st.none() | st.integers(0, 65535),
    parts=st.lists(TEXT.filter(lambda part: part not in {".", ".."}), max_size=3),
    options=st.dictionaries(st.sampled_from(["db", "token", "a_b"]), TEXT, max_size=2),
)
def test_what_is_revealed_reads_back_as_the_same(scheme, variant, user, password, host, port, parts, options):
    server = {"user": user, "password": password, "host": host, "port": port} if host else {}
    path = "".join(f"/{part.replace('/', '_')}" for part in parts)
    uri = URI(scheme, variant, path=path, options=options, **server)
    assert URI.parse(uri.reveal()) == uri
    if host and password:
        other = URI(scheme, variant, path=path, options=options, **{**server, "password": "of another server"})
        assert str(uri) == str(other)


@pytest.mark.parametrize("path", ["a/b.db", "./a", "../a", "a b/读.db", "/abs", ""])
def test_a_path_keeps_being_relative_or_absolute(path: str):
    uri = URI("faiss", path=path)
    assert URI.parse(uri.reveal()) == uri


@pytest.mark.parametrize("text", SECRETS)
def test_a_place_is_shown_without_its_secret(text: str):
    assert "hunter2" not in without_secrets(text)


@pytest.mark.parametrize("text", ["memory", "my profile", "faiss:a b", "milvus:/tmp/读.db", "postgresql://me@host/db"])
def test_a_place_without_secret_is_shown_as_it_is(text: str):
    assert without_secrets(text) == text
