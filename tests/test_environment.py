"""Which variables a command has, from where, and which of two wins."""

from __future__ import annotations

import itertools
from dataclasses import fields

import pytest

from dvc_ray.environment import Python, Sources, crossing, merge, of_caller, of_machine, of_python

ORDER = [
    "store",
    "machine",
    "caller",
    "managers",
    "declared",
    "run",
    "head",
    "node",
    "python",
    "ray",
    "cluster",
    "stage",
]
"""From what gives way to all to what wins over all: written out, so that a field that is moved is noticed."""


def test_the_order_of_sources() -> None:
    assert [field.name for field in fields(Sources)] == ORDER


@pytest.mark.parametrize(("loses", "wins"), list(itertools.pairwise(ORDER)))
def test_of_two_sources_the_later_wins(loses: str, wins: str) -> None:
    sources = Sources(**{loses: {"A": loses, "B": loses}, wins: {"A": wins}})
    assert merge(sources) == {"A": wins, "B": loses}


CALLER = {
    "SHELL": "/bin/zsh",
    "PATH": "/usr/bin",
    "GIT_DIR": "/repo/.git",
    "GIT_AUTHOR_NAME": "a",
    "DVC_EXP_NAME": "e",
    "DVC_STUDIO_TOKEN": "s",
    "DVCLIVE_LOGLEVEL": "debug",
    "DVC_SITE_CACHE_DIR": "/here/only",
    "TOKEN": "t",
    "OTHER": "o",
}


def test_on_a_shared_disk_all_crosses_but_what_names_a_repository() -> None:
    assert of_caller(CALLER) == {name: text for name, text in CALLER.items() if name != "GIT_DIR"}


@pytest.mark.parametrize(
    ("environ", "secrets", "crosses"),
    [
        (CALLER, (), {"SHELL", "DVC_EXP_NAME", "DVC_STUDIO_TOKEN", "DVCLIVE_LOGLEVEL"}),
        (CALLER, ("TOKEN", "NOT_SET"), {"SHELL", "DVC_EXP_NAME", "DVC_STUDIO_TOKEN", "DVCLIVE_LOGLEVEL", "TOKEN"}),
        ({"SHELL": "", "PATH": "/bin"}, ("PATH",), {"PATH"}),
        ({}, (), set()),
    ],
)
def test_to_another_machine_little_crosses(
    environ: dict[str, str], secrets: tuple[str, ...], crosses: set[str]
) -> None:
    assert crossing(environ, secrets) == {name: environ[name] for name in crosses}


def test_a_node_gives_its_own_variables_without_those_of_ray() -> None:
    node = {"PATH": "/bin", "RAY_RAYLET_PID": "1", "OMP_NUM_THREADS": "2", "RAYON_NUM_THREADS": "3"}
    assert of_machine(node) == {"PATH": "/bin", "OMP_NUM_THREADS": "2", "RAYON_NUM_THREADS": "3"}


CONDA = {"CONDA_PREFIX": "/conda/x", "CONDA_SHLVL": "1", "GDAL_DATA": "/conda/x/gdal", "RAY_JOB_ID": "1", "HOME": "/r"}


@pytest.mark.parametrize(
    ("prefix", "base", "environ", "found"),
    [
        ("/driver", "/usr", {}, {}),
        ("/venv", "/usr", {}, {"PATH": "/venv/bin:/bin", "VIRTUAL_ENV": "/venv"}),
        ("/image", "/image", {}, {"PATH": "/image/bin:/bin"}),
        (
            "/conda/x",
            "/conda/x",
            CONDA,
            {"PATH": "/conda/x/bin:/bin", "CONDA_PREFIX": "/conda/x", "CONDA_SHLVL": "1", "GDAL_DATA": "/conda/x/gdal"},
        ),
        ("/venv", "/usr", CONDA, {"PATH": "/venv/bin:/bin", "VIRTUAL_ENV": "/venv"}),
    ],
)
def test_the_python_of_a_runtime_env_comes_first(
    prefix: str, base: str, environ: dict[str, str], found: dict[str, str]
) -> None:
    python = Python(prefix=prefix, base_prefix=base, environ=environ)
    assert of_python(python, "/driver", {"PATH": "/bin", "HOME": "/h"}) == found
    assert of_python(python, prefix, {"PATH": "/bin"}) == {}, "the driver's own"
