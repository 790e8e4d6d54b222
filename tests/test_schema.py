"""The settings of a run: each is read the same from everywhere, and a wrong value names the setting and its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.cli.commands import running
from dvc_ray.cli.options import Arguments, make_parser
from dvc_ray.errors import BadArgumentError, ClusterError, ConfigError
from dvc_ray.settings.schema import SETTINGS, Setting
from dvc_ray.settings.sources import resolve
from dvc_ray.values.run import RunFlags, RunRequest, RunSettings
from tests import make_reference


@dataclass(frozen=True, kw_only=True)
class Case:
    good: Mapping[str, object]
    """What stands in ray.toml, and what is read."""
    text: Mapping[str, object]
    """What stands in a variable or after a flag, and what is read."""
    bad: tuple[str, ...]
    """In ray.toml."""
    bad_text: tuple[str, ...] = ()
    python: tuple[object, object]
    """What stands in a `RunRequest`, and what is read."""
    bad_python: tuple[object, ...] = ()


CASES = {
    "jobs": Case(
        good={"1": 1, "1000000000": 10**9},
        text={"1": 1, "64": 64},
        bad=("0", "-1", "2.7", "true", "nan", "1000000001", '"many"', "[1]", "2026-01-01"),
        bad_text=("0", "-1", "2.7", "true", "many", " "),
        python=(4, 4),
        bad_python=(0, -1, 2.7, True, "many", [1]),
    ),
    "address": Case(
        good={'"10.0.0.1:6379"': "10.0.0.1:6379", '"auto"': "auto", '"local"': None, '""': None},
        text={"10.0.0.1:6379": "10.0.0.1:6379", "local": None},
        bad=("6379", "true", "[]", '"a\\u0007"'),
        bad_text=("a\x1b[2J", "\udcff"),
        python=("10.0.0.1:6379", "10.0.0.1:6379"),
        bad_python=(6379, True, "a\nb"),
    ),
    "local": Case(
        good={'"auto"': "auto", '"ray"': "ray"},
        text={"auto": "auto", "ray": "ray"},
        bad=('"other"', "true", "[]", "1"),
        bad_text=("other", "RAY"),
        python=("ray", "ray"),
        bad_python=("other", 1, ["ray"]),
    ),
    "grace": Case(
        good={"0": 0.0, "2.5": 2.5, '"30s"': 30.0, '"1m30s"': 90.0, '"1h 30m"': 5400.0},
        text={"0": 0.0, "30": 30.0, "2.5": 2.5, "90s": 90.0, "1m30s": 90.0},
        bad=("-5", "true", "nan", "inf", "1e300", '"soon"', '"1h30"', "[30]", "00:00:30"),
        bad_text=("-5", "true", "nan", "inf", "1e5", "soon", "99999d"),
        python=("1m30s", 90.0),
        bad_python=(-5, True, float("nan"), "soon", [30]),
    ),
    "node_cache_size": Case(
        good={"0": 0, "1000": 1000, '"100GiB"': 100 << 30, '"1.5 GB"': 1_500_000_000},
        text={"1000": 1000, "100GiB": 100 << 30},
        bad=("-1", "1.5", "true", "nan", '"100 bananas"', '"-1GiB"', "[1]"),
        bad_text=("-1", "true", "nan", "100 bananas"),
        python=("2GiB", 2 << 30),
        bad_python=(-1, 1.5, True, "much", []),
    ),
    "secrets": Case(
        good={"[]": (), '["HF_TOKEN", " A "]': ("HF_TOKEN", "A"), '"A,B"': ("A", "B")},
        text={"A": ("A",), "A, B,": ("A", "B")},
        bad=("5", "true", "[5]", '["A=B"]', '["A\\u0000"]', "{A = 1}"),
        bad_text=("A=B", "A,B=C"),
        python=(["A", "B"], ("A", "B")),
        bad_python=(5, True, [5], ["A=B"], {"A": 1}),
    ),
    "bare_workspace": Case(
        good={"true": True, "false": False, '"true"': True},
        text={"true": True, "1": True, "False": False, "0": False},
        bad=("1", "0", '"maybe"', '"yes"', "[]"),
        bad_text=("maybe", "yes", "2"),
        python=(True, True),
        bad_python=(1, "maybe", []),
    ),
    "owner": Case(
        good={'"team-a"': "team_a", '"  Ada L. "': "Ada_L", f'"{"x" * 50}"': "x" * 20},
        text={"team": "team"},
        bad=("5", "true", "[]", '"a\\u001bb"', '"\\u202e"'),
        bad_text=("a\x1bb", "\u202e"),
        python=("team", "team"),
        bad_python=(5, True, "a\tb"),
    ),
    "runtime_env": Case(
        good={"{}": {}, '{uv = ["a==1"]}': {"uv": ["a==1"]}, '"{}"': {}},
        text={"{}": {}, '{"env_vars": {"A": "1"}}': {"env_vars": {"A": "1"}}},
        bad=("5", "true", '"x"', '"[]"', "[]"),
        bad_text=("x", "[]", "5", "{", "[" * 100_000),
        python=({"uv": ["a"]}, {"uv": ["a"]}),
        bad_python=(5, True, "x", [], {1: 2}),
    ),
}
WITH_FLAGS = [name for name, setting in SETTINGS.items() if setting.flags]


def pairs(kind: str, names: list[str] | None = None) -> list[tuple[str, Any]]:
    return [(name, value) for name in names or CASES for value in getattr(CASES[name], kind)]


def toml(folder: Path, name: str, value: str, file: str = "ray.toml") -> None:
    (folder / file).write_text(f"{name} = {value}\n")


def resolved(folder: Path, request: RunRequest | None = None, environ: Mapping[str, str] | None = None) -> RunSettings:
    return resolve(request or RunRequest(), str(folder), {"XDG_CONFIG_HOME": str(folder), **(environ or {})})


def asked(setting: Setting, text: str) -> RunRequest:
    """What the command line makes of a flag."""
    arguments = Arguments()
    make_parser().parse_args(["repro", f"{setting.flags[-1]}={text}"], namespace=arguments)
    return running.request(arguments)


def names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def test_the_schema_is_the_fields_of_a_request_and_what_becomes_of_it() -> None:
    assert list(CASES) == list(SETTINGS)
    assert names(RunRequest) == names(RunSettings) == [*names(RunFlags), *SETTINGS]
    assert all(getattr(RunRequest(), name) is None for name in SETTINGS)


@pytest.mark.parametrize(("name", "value"), pairs("good"))
def test_a_file(tmp_path: Path, name: str, value: str) -> None:
    toml(tmp_path, name, value)
    assert getattr(resolved(tmp_path), name) == CASES[name].good[value]


@pytest.mark.parametrize(("name", "text"), pairs("text"))
def test_a_variable(tmp_path: Path, name: str, text: str) -> None:
    assert getattr(resolved(tmp_path, environ={SETTINGS[name].variable: text}), name) == CASES[name].text[text]


@pytest.mark.parametrize(("name", "text"), pairs("text", WITH_FLAGS))
def test_a_flag(tmp_path: Path, name: str, text: str) -> None:
    assert getattr(resolved(tmp_path, asked(SETTINGS[name], text)), name) == CASES[name].text[text]


@pytest.mark.parametrize("name", CASES)
def test_a_request_in_python(tmp_path: Path, name: str) -> None:
    value, expected = CASES[name].python
    found = getattr(resolved(tmp_path, RunRequest(**{name: value})), name)  # type: ignore[arg-type]
    assert found == expected
    assert resolved(tmp_path, RunRequest(**{name: found})) == resolved(tmp_path, RunRequest(**{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), pairs("bad"))
@pytest.mark.parametrize("file", ["ray.toml", "ray.local.toml", "dvc-ray/config.toml"])
def test_a_wrong_value_in_a_file(tmp_path: Path, file: str, name: str, value: str) -> None:
    (tmp_path / "dvc-ray").mkdir()
    toml(tmp_path, name, value, file)
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path)
    assert caught.value.what.startswith(
        f"setting '{name}' ({tmp_path / file}) must be {SETTINGS[name].reader.takes}, not "
    )
    assert caught.value.hint.endswith(f"for the default: {SETTINGS[name].default_text}.")


@pytest.mark.parametrize(("name", "text"), pairs("bad_text"))
def test_a_wrong_value_in_a_variable(tmp_path: Path, name: str, text: str) -> None:
    setting = SETTINGS[name]
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, environ={setting.variable: text})
    assert caught.value.what.startswith(f"setting '{name}' ({setting.variable}) must be {setting.reader.takes}, not ")
    assert len(caught.value.what) < 300


@pytest.mark.parametrize(("name", "text"), pairs("bad_text", WITH_FLAGS))
def test_a_wrong_value_of_a_flag(name: str, text: str) -> None:
    setting = SETTINGS[name]
    with pytest.raises(BadArgumentError) as caught:
        asked(setting, text)
    assert caught.value.what.startswith(f"{setting.flags[-1]} must be {setting.reader.takes}, not ")


@pytest.mark.parametrize(("name", "value"), pairs("bad_python"))
def test_a_wrong_value_in_python(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(BadArgumentError) as caught:
        resolved(tmp_path, RunRequest(**{name: value}))  # type: ignore[arg-type]
    assert caught.value.what.startswith(f"'{name}' must be {SETTINGS[name].reader.takes}, not ")


def test_targets_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(BadArgumentError, match="'targets' must be a list of names, not 'train'"):
        resolved(tmp_path, RunRequest(targets="train"))
    assert resolved(tmp_path, RunRequest(targets=["train"], force=True)).force


@pytest.mark.parametrize("name", CASES)
def test_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    expected = {"owner": "ada"}.get(name, SETTINGS[name].default)
    assert getattr(resolved(tmp_path), name) == expected
    assert getattr(resolved(tmp_path, environ={SETTINGS[name].variable: ""}), name) == expected, "an empty variable"


@pytest.mark.parametrize("name", WITH_FLAGS)
def test_help_shows_the_default(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert SETTINGS[name].default_text in SETTINGS[name].help
    assert f" {SETTINGS[name].help} " in " ".join(make_reference.text().split())


def test_the_defaults_in_words_are_the_defaults() -> None:
    assert SETTINGS["grace"].read(SETTINGS["grace"].default_text) == SETTINGS["grace"].default
    assert SETTINGS["bare_workspace"].read(SETTINGS["bare_workspace"].default_text) is False


def test_the_flag_wins_then_the_variable_then_the_files(tmp_path: Path) -> None:
    """Sources one after the other, from the weakest to the strongest."""
    (tmp_path / "dvc-ray").mkdir()
    expected = 1
    for file in ("dvc-ray/config.toml", "ray.toml", "ray.local.toml"):
        toml(tmp_path, "jobs", str(expected), file)
        assert resolved(tmp_path).jobs == expected
        expected += 1
    assert resolved(tmp_path, environ={"DVC_RAY_JOBS": "4"}).jobs == 4
    assert resolved(tmp_path, RunRequest(jobs=5), environ={"DVC_RAY_JOBS": "4"}).jobs == 5


def test_the_address_of_ray_itself_comes_last(tmp_path: Path) -> None:
    assert resolved(tmp_path, environ={"RAY_ADDRESS": "a:1"}).address == "a:1"
    assert resolved(tmp_path, RunRequest(address="local"), environ={"RAY_ADDRESS": "a:1"}).address is None
    toml(tmp_path, "address", '"b:1"')
    assert resolved(tmp_path, environ={"RAY_ADDRESS": "a:1"}).address == "b:1"
    assert resolved(tmp_path, RunRequest(address=""), environ={"RAY_ADDRESS": "a:1"}).address == "b:1"
    assert resolved(tmp_path, environ={"DVC_RAY_ADDRESS": "local", "RAY_ADDRESS": "a:1"}).address is None
    with pytest.raises(ClusterError, match="is a Ray Client address"):
        resolved(tmp_path, environ={"RAY_ADDRESS": "ray://a:1", "DVC_RAY_ADDRESS": "ray://b:1"})


def test_an_unknown_setting_of_a_file(tmp_path: Path) -> None:
    toml(tmp_path, "jbos", "1")
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path)
    assert caught.value.what == f"unknown setting 'jbos' ({tmp_path / 'ray.toml'}). Did you mean 'jobs'?"
    assert caught.value.hint == f"Settings: {', '.join(SETTINGS)}."


def test_what_is_asked_for_replaces_a_table_as_a_whole(tmp_path: Path) -> None:
    toml(tmp_path, "runtime_env", "{pip = ['a']}")
    assert resolved(tmp_path, environ={"DVC_RAY_RUNTIME_ENV": json.dumps({"uv": []})}).runtime_env == {"uv": []}
    assert resolved(tmp_path, RunRequest(runtime_env={})).runtime_env == {}
