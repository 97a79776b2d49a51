"""Where settings come from, and which overrules which."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvec.config import Settings, resolve
from qvec.errors import ConfigError, UnknownAdapterError
from qvec.registry import DEFAULT_MODEL
from qvec.uri import URI

LOCAL = """
backend = "prod"
model = "hashing"
dim = 64

[profiles.prod]
uri = "postgresql://me:${PGPASSWORD}@db.example.org/search"
model = "some/model"
dim = 1024

[profiles.memory]
uri = "memory://mine"

[profiles.plain]
uri = "${WHOLE}"
"""


def resolved(tmp_path: Path, backend: str | URI | None = None, *, local="", user="", env=None, **options) -> Settings:
    if local:
        (tmp_path / "qvec.toml").write_text(local, encoding="utf-8")
    if user:
        folder = tmp_path / "home" / ".config" / "qvec"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(user, encoding="utf-8")
    variables = {"HOME": str(tmp_path / "home"), "PGPASSWORD": "s3cret", **(env or {})}
    return resolve(backend, env=variables, cwd=tmp_path, **options)


def test_without_any_configuration_it_is_the_embedded_default(tmp_path):
    found = resolved(tmp_path)
    assert (found.uri.scheme, found.model, found.dim, found.files) == ("faiss", DEFAULT_MODEL, None, ())
    assert found.uri.path.startswith(str(tmp_path / ".qvec"))


def test_a_uri_is_taken_as_it_is(tmp_path):
    assert resolved(tmp_path, "memory://here").uri == URI.parse("memory://here")
    assert resolved(tmp_path, "faiss:some/folder").uri.path == "some/folder"
    assert resolved(tmp_path, URI.parse("memory://here")).uri.host == "here"


def test_a_backend_takes_its_profile_else_its_embedded_database(tmp_path):
    assert resolved(tmp_path, "memory", local=LOCAL).uri.host == "mine"
    assert resolved(tmp_path, "faiss", local=LOCAL).uri.scheme == "faiss"


def test_the_file_names_the_backend_and_the_profile_its_model(tmp_path):
    found = resolved(tmp_path, local=LOCAL)
    assert (found.uri.host, found.model, found.dim) == ("db.example.org", "some/model", 1024)
    assert found.files == (tmp_path / "qvec.toml",)


def test_a_profile_without_model_takes_the_file_s(tmp_path):
    found = resolved(tmp_path, "memory", local=LOCAL)
    assert (found.model, found.dim) == ("hashing", 64)


def test_the_environment_overrules_files_and_arguments_overrule_the_environment(tmp_path):
    env = {"QVEC_BACKEND": "memory", "QVEC_MODEL": "env-model", "QVEC_DIM": "32"}
    found = resolved(tmp_path, local=LOCAL, env=env)
    assert (found.uri.scheme, found.model, found.dim) == ("memory", "env-model", 32)
    found = resolved(tmp_path, "faiss", env=env, model="mine", dim=16)
    assert (found.uri.scheme, found.model, found.dim) == ("faiss", "mine", 16)


def test_the_local_file_overrules_the_user_s_which_fills_the_gaps(tmp_path):
    user = 'backend = "faiss"\nmodel = "user-model"\n[profiles.other]\nuri = "memory://user"\n'
    found = resolved(tmp_path, "other", local='backend = "memory"\n', user=user)
    assert (found.uri.host, found.model, len(found.files)) == ("user", "user-model", 2)


def test_xdg_config_home_is_respected(tmp_path):
    (tmp_path / "xdg" / "qvec").mkdir(parents=True)
    (tmp_path / "xdg" / "qvec" / "config.toml").write_text('model = "xdg-model"')
    assert resolved(tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).model == "xdg-model"


def test_the_dim_of_one_model_is_not_put_on_another(tmp_path):
    assert resolved(tmp_path, local=LOCAL, model="hashing").dim is None
    assert resolved(tmp_path, local=LOCAL, env={"QVEC_MODEL": "hashing"}).dim is None
    assert resolved(tmp_path, local=LOCAL, model="hashing", env={"QVEC_DIM": "8"}).dim == 8


def test_variables_in_a_password_may_hold_any_character_and_are_never_shown(tmp_path):
    found = resolved(tmp_path, local=LOCAL, env={"PGPASSWORD": "a@b/c:d#é"})
    assert found.uri.password == "a@b/c:d#é"
    assert "a@b" not in repr(found)


def test_a_variable_may_hold_a_whole_uri(tmp_path):
    assert resolved(tmp_path, "plain", local=LOCAL, env={"WHOLE": "memory://x?a=b"}).uri.options == {"a": "b"}


def test_variables_expand_in_the_uri_only(tmp_path):
    assert resolved(tmp_path, local='model = "${HOME}"').model == "${HOME}"


def test_an_unset_variable_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"qvec\.toml: profiles\.plain: uri needs .*'WHOLE'"):
        resolved(tmp_path, "plain", local=LOCAL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backend = ", "is not TOML"),
        ('modle = "x"', "unknown key 'modle'; did you mean model"),
        ('[profiles.a]\nurl = "x"', "profiles.a: unknown key 'url'; did you mean uri"),
        ("model = 3", "model takes a string"),
        ('dim = "many"', "dim takes a whole number"),
        ("dim = 0", "dim takes a whole number"),
        ("dim = true", "dim takes a whole number"),
        ("profiles = 3", "takes tables"),
        ("[profiles]\na = 3", "takes a table"),
    ],
)
def test_a_bad_file_is_an_error_that_names_file_and_key(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        resolved(tmp_path, local=text)
    assert "qvec.toml" in str(caught.value)


def test_a_file_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "qvec.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolved(tmp_path)


def test_a_dim_in_the_environment_that_is_no_number_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="QVEC_DIM='x'"):
        resolved(tmp_path, env={"QVEC_DIM": "x"})


def test_an_unknown_backend_offers_the_nearest_name_and_the_profiles(tmp_path):
    with pytest.raises(UnknownAdapterError, match=r"did you mean milvus\?.*profiles: memory, plain, prod"):
        resolved(tmp_path, "milvsu", local=LOCAL)


def test_no_cache_is_the_default(tmp_path):
    assert resolved(tmp_path).cache is None


@pytest.mark.parametrize(
    ("argument", "env", "local", "place"),
    [
        (True, {"HOME": "/home/me"}, "", "/home/me/.cache/qvec"),
        (True, {"HOME": "/home/me", "XDG_CACHE_HOME": "/fast"}, "", "/fast/qvec"),
        (True, {"HOME": "/home/me"}, "cache = 'redis://h/0'", "redis://h/0"),
        (True, {"HOME": "/home/me"}, "cache = false", "/home/me/.cache/qvec"),
        (False, {"QVEC_CACHE": "1"}, "cache = true", None),
        ("here", {}, "cache = 'there'", "here"),
        (None, {"QVEC_CACHE": "redis://h/1"}, "cache = false", "redis://h/1"),
        (None, {"QVEC_CACHE": "no"}, "cache = 'there'", None),
        (None, {}, "cache = 'there'", "there"),
    ],
)
def test_the_cache_is_where_the_nearest_says(tmp_path, argument, env, local, place):
    if local:
        (tmp_path / "qvec.toml").write_text(local, encoding="utf-8")
    assert resolve(cache=argument, env=env, cwd=tmp_path).cache == place


def test_a_cache_that_is_neither_place_nor_switch_is_refused(tmp_path):
    (tmp_path / "qvec.toml").write_text("cache = 3", encoding="utf-8")
    with pytest.raises(ConfigError, match="cache takes"):
        resolve(env={}, cwd=tmp_path)


@pytest.mark.parametrize("key", ["device", "long_text"])
def test_device_and_policy_come_from_environment_profile_and_file_in_this_order(tmp_path, key):
    local = f'backend = "mine"\n{key} = "pool"\n[profiles.mine]\nuri = "memory://"\n'
    assert getattr(resolved(tmp_path, local=local), key) == "pool"
    assert getattr(resolved(tmp_path, local=f'{local}{key} = "truncate"\n'), key) == "truncate"
    env = {f"QVEC_{key.upper()}": "error"}
    assert getattr(resolved(tmp_path, local=f'{local}{key} = "truncate"\n', env=env), key) == "error"
    assert getattr(resolved(tmp_path, local='backend = "memory"'), key) is None


@pytest.mark.parametrize(("env", "local"), [({"QVEC_LONG_TEXT": "cut"}, ""), ({}, "long_text = 'cut'")])
def test_an_unknown_policy_is_refused_by_name(tmp_path, env, local):
    with pytest.raises(ConfigError, match=r"(?i)long_text takes chunk, truncate, pool, error, not 'cut'"):
        resolved(tmp_path, local=local, env=env)
