"""Whatever stands where a setting is read, it is one, or an error that names it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvc_ray.cli.options import make_parser
from dvc_ray.errors import BadArgumentError, ConfigError
from dvc_ray.settings.meta_ray import parse
from dvc_ray.settings.sources import resolve
from dvc_ray.values.run import RunRequest
from tests.helpers.inputs import AMOUNTS, FILES, VARIABLES


@pytest.mark.parametrize(("key", "at"), [(key, at) for key, values in AMOUNTS.items() for at in range(len(values))])
def test_a_wrong_value_under_meta_ray_is_named(key: str, at: int) -> None:
    value = AMOUNTS[key][at]
    with pytest.raises(ConfigError) as raised:
        parse("train", {"ray": {key: value}})
    assert raised.value.what.startswith("stage 'train': 'meta.ray.")
    assert key in raised.value.what
    assert len(raised.value.what) < 300


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*AMOUNTS, "label_selector", "unknown"])


@given(st.dictionaries(KEYS, TREES, max_size=2) | TREES)
def test_whatever_stands_under_meta_ray_is_settings_or_an_error(section: Any) -> None:
    with contextlib.suppress(ConfigError):
        parse("train", {"ray": section})


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FILES.items() for value in values])
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "ray.toml").write_text(f"{key} = {value}\n")
    with pytest.raises(ConfigError) as raised:
        resolve(RunRequest(), str(tmp_path), {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    assert "ray.toml" in raised.value.what
    assert len(raised.value.what) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in VARIABLES.items() for value in values])
def test_a_wrong_variable_is_named(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(RunRequest(), None, {f"DVC_RAY_{key}": value, "XDG_CONFIG_HOME": str(tmp_path)})
    assert f"setting '{key.lower()}' (DVC_RAY_{key}) must be " in raised.value.what
    assert len(raised.value.what) < 300


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a = " + "[" * 100_000, f"jobs = {'9' * 5000}", "\0", "jobs = 1\njobs = 2"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "ray.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"cannot read '.*ray\.toml'"):
        resolve(RunRequest(), str(tmp_path), {"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize("jobs", [0, -1, 10**40, True, 1.5])
def test_jobs_of_the_command_line(jobs: Any) -> None:
    with pytest.raises(BadArgumentError, match="--jobs must be a whole number of at least 1"):
        make_parser().parse_args(["repro", f"--jobs={jobs}"])


@pytest.mark.parametrize("jobs", [0, -1, 10**40, True, 1.5])
def test_jobs_of_the_library(jobs: Any) -> None:
    with pytest.raises(BadArgumentError, match="'jobs' must be a whole number of at least 1"):
        resolve(RunRequest(jobs=jobs), None, {})


@pytest.mark.parametrize(("text", "expected"), [("0", 0.0), ("2.5", 2.5), ('"90s"', 90.0), ('"1m30s"', 90.0)])
def test_a_grace_period(tmp_path: Path, text: str, expected: float) -> None:
    (tmp_path / "ray.toml").write_text(f"grace = {text}\n")
    assert resolve(RunRequest(), str(tmp_path), {"XDG_CONFIG_HOME": str(tmp_path)}).grace == expected
