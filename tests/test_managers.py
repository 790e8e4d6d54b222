"""What a command's environment is given so that managers of environments find the user's project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from dvc_ray.repo.run import environment_managers, python_path

UV = ("pyproject.toml", "uv.lock")
ROOT = {"UV_PROJECT": "/u"}


def ground(
    command: str | tuple[str, ...] = "uv run x",
    files: tuple[str, ...] = UV,
    wdir: str = ".",
    environ: Mapping[str, str] | None = None,
    outs: tuple[str, ...] = (),
) -> environment_managers.Ground:
    return environment_managers.Ground(
        home="/u",
        wdir=wdir,
        commands=(command,) if isinstance(command, str) else command,
        files=frozenset(files),
        outs=frozenset(outs),
        environ=environ or {},
    )


def nobody(argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
    raise AssertionError(f"asked {argv}")


TWO = (*UV, "sub/pyproject.toml", "sub/uv.lock")
WORKSPACE = ("pyproject.toml", "uv.lock", "packages/a/pyproject.toml")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # No project file, or none that speaks of a manager: nothing is added.
        (ground(files=()), {}),
        (ground("python x.py", files=("pyproject.toml",)), {}),
        (ground("echo $uv; mkdir uv-x; cat a/uv/b", files=("pyproject.toml",)), {}),
        # uv: by its lock, or because the command calls it before there is one.
        (ground("./run.sh"), ROOT),
        (ground(files=("pyproject.toml",)), ROOT),
        (ground("/opt/bin/uv run x", files=("pyproject.toml",)), ROOT),
        (ground("cd deep && uv run x"), ROOT),
        (ground("cd deep && cd .. && uv run x"), ROOT),
        # The nearest project of where the command works.
        (ground(wdir="sub", files=TWO), {"UV_PROJECT": "/u/sub"}),
        (ground(wdir="sub/deep", files=TWO), {"UV_PROJECT": "/u/sub"}),
        (ground(wdir="other", files=TWO), ROOT),
        (ground("cd sub && uv run x", files=TWO), {"UV_PROJECT": "/u/sub"}),
        (ground("cd ./sub; uv run x", files=TWO), {"UV_PROJECT": "/u/sub"}),
        (ground("cd .. && uv run x", wdir="sub", files=TWO), ROOT),
        (ground(wdir="packages/a", files=WORKSPACE), {"UV_PROJECT": "/u/packages/a"}),
        (ground("uv run --package a x", files=WORKSPACE), ROOT),
        # Several projects, and which one the command comes to cannot be told.
        (ground("uv run x && cd sub && uv run y", files=TWO), {}),
        (ground("(cd sub; uv run y)", files=TWO), {}),
        (ground("uv run --project sub x", files=TWO), {}),
        (ground("uv --directory=sub run x", files=TWO), {}),
        (ground("make -C sub", files=TWO), {}),
        (ground("./run.sh", files=TWO), {}),
        (ground(("uv run x", "cd sub && uv run y"), files=TWO), {}),
        (ground("cd /elsewhere && uv run x"), {}),
        (ground("true; cd /elsewhere && uv run x"), {}),
        (ground('cd "$PLACE" && uv run x'), {}),
        (ground("cd ~/other; uv run x"), {}),
        (ground("cd ../beyond && uv run x"), {}),
        # What the user has set stays; what is relative is to the user's tree, not to the copy.
        (ground(environ={"UV_PROJECT": "/u/sub"}), {}),
        (ground(environ={"UV_PROJECT": "sub"}, wdir="w"), {"UV_PROJECT": "/u/w/sub"}),
        # A stage that makes what the manager reads works on its own.
        (ground("uv lock", outs=("uv.lock",)), {}),
        (ground("uv sync", outs=(".venv",)), {}),
        (ground("uv lock", files=("sub/pyproject.toml",), wdir="sub", outs=("sub",)), {}),
        (ground("uv init new"), {}),
        # Others.
        (ground("x", files=("Pipfile",)), {"PIPENV_PIPFILE": "/u/Pipfile"}),
        (ground("x", files=("Pipfile", "sub/Pipfile"), wdir="sub"), {}),
        (ground("pipenv run x", files=("Pipfile", "sub/Pipfile"), wdir="sub"), {"PIPENV_PIPFILE": "/u/sub/Pipfile"}),
        (ground("x", files=("Pipfile",), environ={"PIPENV_PIPFILE": "p/Pipfile"}), {"PIPENV_PIPFILE": "/u/p/Pipfile"}),
        (ground("pdm run x", files=("pyproject.toml",)), {"PDM_PROJECT": "/u"}),
        (ground("x", files=("pyproject.toml", "pdm.lock")), {"PDM_PROJECT": "/u"}),
        (ground("pdm lock", files=("pyproject.toml",), outs=("pdm.lock",)), {}),
        # Those that go by a hash of the path are asked only where a command calls them.
        (ground("python poetry.py", files=("pyproject.toml", "poetry.lock")), {}),
        (ground("poetry run x", files=()), {}),
        (ground("poetry run x", files=("pyproject.toml",), environ={"VIRTUAL_ENV": "/v"}), {}),
        (ground("hatch build", files=("pyproject.toml",)), {}),
    ],
)
def test_variables(given: environment_managers.Ground, expected: dict[str, str]) -> None:
    assert environment_managers.variables(given, nobody) == expected


@pytest.mark.parametrize(
    ("command", "answers", "expected"),
    [
        ("poetry run x", {"poetry --no-ansi env info --path": "/v"}, {"VIRTUAL_ENV": "/v"}),
        ("cd sub && poetry run x", {"poetry --no-ansi env info --path": "/v"}, {"VIRTUAL_ENV": "/v"}),
        ("poetry check", {}, {}),
        ("poetry run x; cd sub; poetry run y", {}, {}),
        ("hatch run x", {"hatch env find default": "/h"}, {"HATCH_ENV_TYPE_VIRTUAL_PATH": "/h"}),
        ("hatch run gpu:x", {"hatch env find gpu": "/g"}, {"HATCH_ENV_TYPE_VIRTUAL_PATH": "/g"}),
        ("hatch -e gpu run x", {"hatch env find gpu": "/g"}, {"HATCH_ENV_TYPE_VIRTUAL_PATH": "/g"}),
        ("hatch run a:x && hatch run b:y", {}, {}),
        ("hatch run many:x", {"hatch env find many": "/m1\n/m2"}, {}),
    ],
)
def test_those_that_are_asked(command: str, answers: dict[str, str], expected: dict[str, str]) -> None:
    files = ("pyproject.toml", "sub/pyproject.toml")

    def ask(argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
        assert folder == ("/u/sub" if command.startswith("cd sub") else "/u")
        return answers.get(" ".join(argv), "")

    assert environment_managers.variables(ground(command, files), ask) == expected


def test_an_environment_that_is_not_there_is_made_where_the_project_is() -> None:
    asked = []

    def ask(argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
        asked.append((argv[-1], folder))
        return "/v" if ("true", "/u") in asked else ""

    assert environment_managers.variables(ground("poetry run x", ("pyproject.toml",)), ask) == {"VIRTUAL_ENV": "/v"}
    assert asked == [("--path", "/u"), ("true", "/u"), ("--path", "/u")]


def test_questions_are_asked_once(tmp_path: Path) -> None:
    ask = environment_managers.Asker()
    argv = ("bash", "-c", "echo >> asked; echo /v")
    assert [ask(argv, str(tmp_path), os.environ), ask(argv, str(tmp_path), os.environ)] == ["/v", "/v"]
    assert (tmp_path / "asked").read_text() == "\n"
    assert ask(("not-there-at-all",), str(tmp_path), os.environ) == ""


def test_a_question_without_an_answer_is_asked_once(tmp_path: Path) -> None:
    """Unless another has been asked since that may have made what was not there."""
    ask = environment_managers.Asker()
    where = ("bash", "-c", "echo >> asked; cat made")

    def answer(environ: Mapping[str, str] = os.environ) -> str:
        return ask(where, str(tmp_path), environ)

    assert [answer(), answer(), (tmp_path / "asked").read_text()] == ["", "", "\n"]
    for _ in range(2):
        ask(("bash", "-c", "echo /v > made"), str(tmp_path), os.environ)
        assert [answer(), answer(), (tmp_path / "asked").read_text()] == ["/v", "/v", "\n\n"]
    assert answer({**os.environ, "PATH": "/nowhere"}) == "", "another environment is another question"


EDITABLE = {
    "a folder": {"pack.pth": "{src}\n"},
    "without a line's end, and an import": {"_editable_impl_pack.pth": "import sys\n{src}"},
    "setuptools' hook": {
        "__editable__.pack.pth": "import __editable___pack_finder",
        "__editable___pack_finder.py": "MAPPING: dict[str, str] = {{'pack': '{src}/pack'}}\n",
    },
    "an older one": {"__editable___pack_finder.py": "MAPPING = {{'pack': '{src}/pack'}}\nNAMESPACES = {{}}\n"},
    "one that cannot be read": {"__editable___pack_finder.py": "MAPPING = {{broken}\n", "p.pth": "{src}\n"},
}


@pytest.mark.parametrize("form", EDITABLE)
@pytest.mark.parametrize("place", [".venv", "VIRTUAL_ENV", "PATH"])
def test_editable_in_an_environment(tmp_path: Path, form: str, place: str) -> None:
    """What it leads to in the tree, leads to the workspace; the environment itself does not."""
    tree = tmp_path / "tree"
    env = tree / ".venv" if place == ".venv" else tmp_path / "env"
    site = env / "lib/python3.12/site-packages"
    for folder in (site, env / "bin", tree / "src/pack", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (env / "pyvenv.cfg").touch()
    (env / "bin/python").touch(mode=0o755)
    for name, text in EDITABLE[form].items():
        (site / name).write_text(text.format(src=tree / "src") if "{broken" not in text else text)
    (site / "others.pth").write_text(f"{tmp_path}/outside\n{site}\nnowhere\n")
    environ = {"VIRTUAL_ENV": {"VIRTUAL_ENV": str(env)}, "PATH": {"PATH": f"{env}/bin"}}.get(place, {})
    found = python_path.environments([str(tree / "sub"), str(tree)], environ)
    assert found == (str(env),)
    path = python_path.python_path((str(tree),), f"{tree}/.dvc/tmp/ray/runs/r/work/1", environ, found)
    assert path == f"{tree}/.dvc/tmp/ray/runs/r/work/1/src"


def test_folders_of_environments() -> None:
    given = ground("cd sub && ../envs/train/bin/python x && .venv/bin/python y", wdir="a/b")
    found = environment_managers.folders(given)
    assert found[:3] == ("/u/a/b", "/u/a", "/u")
    assert set(found) >= {"/u/a/b/sub", "/u/a/b/envs"}
