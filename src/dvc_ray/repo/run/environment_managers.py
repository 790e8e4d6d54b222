"""Managers of environments (uv, poetry, pdm, pipenv, hatch), which find the user's by where they are called.

A command runs in a copy of the project at another path. A manager that looks from there for its project would make an
environment of its own for each stage, or have the user's name the copy, which will be gone (tried with real ones:
docs/decisions). So it is told where the project is; the working directory stays the workspace. `variables` is pure.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from dvc_ray.paths import is_under

_HATCH_PATH: Final = "HATCH_ENV_TYPE_VIRTUAL_PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A manager that takes the place of its project from a variable."""

    name: str
    """Its command."""
    variable: str
    marker: str
    """File by which it finds its project: the nearest upwards."""
    signs: frozenset[str]
    """Files beside the marker, or above it, that say that the project is its."""
    names_marker: bool = False
    """Whether the variable names the marker, not its folder."""
    not_with: str = ""
    """What it refuses to do where the variable is set; a word of the command."""


MANAGERS: Final = (
    Manager(
        name="uv",
        variable="UV_PROJECT",
        marker="pyproject.toml",
        signs=frozenset({"uv.lock", "uv.toml"}),
        not_with="init",
    ),
    Manager(
        name="pdm",
        variable="PDM_PROJECT",
        marker="pyproject.toml",
        signs=frozenset({"pdm.lock", "pdm.toml", ".pdm-python"}),
    ),
    Manager(
        name="pipenv",
        variable="PIPENV_PIPFILE",
        marker="Pipfile",
        signs=frozenset({"Pipfile"}),
        names_marker=True,
    ),
)
MARKERS: Final = frozenset(manager.marker for manager in MANAGERS)
FILES: Final = MARKERS.union(*(manager.signs for manager in MANAGERS))
"""Names of files that say something about managers."""
_LEADING: Final = re.compile(r"\s*cd\s+(?P<folder>[\w./@+=-]+)\s*(?:&&|;|$)(?P<rest>.*)", re.DOTALL)
_WANDERS: Final = re.compile(r"(?<![\w-])(?:cd|pushd)\s|\s(?:-C|--directory|--project)[\s=]")
_LEAVES: Final = re.compile(r"(?<![\w-])(?:cd|pushd)\s+(?![\w.@+=-][\w./@+=-]*(?:[\s;&|)]|$))")
"""Goes to where the text does not say, or out of the tree."""
_BIN: Final = re.compile(r"(?<![\w./@+=-])(?P<folder>[\w./@+=-]+)/bin/")
"""The folder of an environment, in a command."""
_HATCH_ENV: Final = re.compile(
    r"(?<![\w-])hatch\s+(?:(?:-e|--env)[\s=](?P<env>[\w.-]+)\s+)?run\s+(?:(?P<of>[\w.-]+):)?"
)
_NEEDS_ENV: Final = re.compile(r"(?<![\w-])poetry\s(?:.*\s)?(?:run|install|sync|add|update|shell)(?![\w-])")
LOOKED_AT: Final = 20_000
"""Characters of a command: with more, the search for the words above would take long."""
_PATIENCE: Final = 120.0
"""Seconds that a manager may take to say where its environment is, or to make an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a command runs on, as far as managers look at it. Paths are relative to the user's tree."""

    home: str
    """Root of the user's tree."""
    wdir: str
    """Working directory of the stage."""
    commands: tuple[str, ...]
    files: frozenset[str]
    """Those named in `FILES` that the tree has."""
    outs: frozenset[str]
    """Outs of the stage."""
    environ: Mapping[str, str] = field(repr=False)
    """The caller's environment."""


Ask = Callable[[tuple[str, ...], str, Mapping[str, str]], str]
"""Runs an argv in a directory of the user's tree with an environment; what it prints, empty if it fails."""


def variables(ground: Ground, ask: Ask) -> dict[str, str]:
    """Say what a command's environment needs so that managers find the user's project and environment.

    Args:
        ground: What the command runs on.
        ask: Asks a manager.

    Returns:
        Nothing where no project file says that a manager is used, and nothing that the caller has set.
    """
    found = {}
    for manager in MANAGERS:
        given = ground.environ.get(manager.variable)
        if given:
            if not os.path.isabs(given):
                found[manager.variable] = _absolute(ground, given)
        elif (project := _project(manager, ground)) is not None:
            name = manager.marker if manager.names_marker else ""
            found[manager.variable] = os.path.normpath(os.path.join(ground.home, project, name))
    return {**found, **_by_path_hash(ground, ask)}


def projects(ground: Ground) -> tuple[str, ...]:
    """Python projects of the user's tree that a command works in; absolute."""
    known = {os.path.dirname(path) for path in ground.files if os.path.basename(path) == "pyproject.toml"}
    found = (_nearest(_start(ground.wdir, command)[0], known) for command in ground.commands)
    return tuple(dict.fromkeys(os.path.join(ground.home, part) for part in found if part is not None))


def folders(ground: Ground) -> tuple[str, ...]:
    """Directories of the user's tree in which a command may find an environment of the project; absolute."""
    starts = dict.fromkeys([ground.wdir, *(_start(ground.wdir, command)[0] for command in ground.commands)])
    found = [folder for start in starts for folder in upwards(start)]
    for start in starts:
        named = (match["folder"] for command in ground.commands for match in _BIN.finditer(command))
        found += [os.path.dirname(os.path.normpath(os.path.join(start, folder))) for folder in named]
    return tuple(dict.fromkeys(os.path.normpath(os.path.join(ground.home, folder)) for folder in found))


def upwards(folder: str) -> tuple[str, ...]:
    """A folder of the tree and those above it, the root last; none if it lies outside."""
    found = []
    folder = "" if folder == "." else folder
    while folder and not folder.startswith((os.pardir, os.sep)):
        found.append(folder)
        folder = os.path.dirname(folder)
    return () if folder else (*found, "")


def _absolute(ground: Ground, path: str) -> str:
    return os.path.normpath(os.path.join(ground.home, ground.wdir, path))


def _project(manager: Manager, ground: Ground) -> str | None:
    """The project that a manager would find under stock; None: it has none, or which one cannot be told."""
    projects = {os.path.dirname(path) for path in ground.files if os.path.basename(path) == manager.marker}
    named = _mentions(manager.name, ground.commands)
    starts = [_start(ground.wdir, command) for command in ground.commands]
    found = {_nearest(start, projects) for start, _ in starts}
    if len(found) != 1 or (project := found.pop()) is None:
        return None
    if any(_LEAVES.search(command) for command in ground.commands):
        return None
    wanders = any(_WANDERS.search(rest) for _, rest in starts)
    if len(projects) > 1 and (wanders or not named):  # a script may go to another one of them
        return None
    own = {path for path in ground.files if os.path.basename(path) in manager.signs}
    if not named and not any(is_at_or_above(os.path.dirname(path), project) for path in own):
        return None
    if manager.not_with and _mentions(rf"{manager.name}\s+{manager.not_with}", ground.commands):
        return None
    makes = {os.path.normpath(os.path.join(project, name)) for name in (manager.marker, *manager.signs, ".venv")}
    locks = {os.path.normpath(os.path.join(project, f"{manager.marker}.lock"))}
    return None if any(is_under(path, set(ground.outs)) for path in makes | locks) else project


def _mentions(pattern: str, commands: Collection[str]) -> bool:
    return any(re.search(rf"(?<![\w-]){pattern}(?=\s|$)", command) for command in commands)


def _start(wdir: str, command: str) -> tuple[str, str]:
    """Where a command begins to work, if it begins with ``cd``, and the rest of it."""
    found = _LEADING.match(command)
    if found is None:
        return wdir, command
    return os.path.normpath(os.path.join(wdir, found["folder"])), found["rest"]


def _nearest(folder: str, projects: Collection[str]) -> str | None:
    """The nearest of some folders at or above one; the tree's root is the empty path."""
    return next((each for each in upwards(folder) if each in projects), None)


def is_at_or_above(folder: str, other: str) -> bool:
    """Whether a folder of the tree is another one or contains it."""
    return not folder or other == folder or other.startswith(folder + os.sep)


def _by_path_hash(ground: Ground, ask: Ask) -> dict[str, str]:
    """Poetry and hatch know an environment outside of the project by a hash of the project's path."""
    starts = {_start(ground.wdir, command) for command in ground.commands}
    folders = {os.path.normpath(os.path.join(ground.home, start)) for start, _ in starts}
    if len(folders) != 1 or any(_WANDERS.search(rest) for _, rest in starts):
        return {}
    folder = folders.pop()
    projects = {os.path.dirname(path) for path in ground.files if os.path.basename(path) == "pyproject.toml"}
    if _nearest(next(iter(starts))[0], projects) is None:
        return {}
    found = {}
    environ = ground.environ
    activated = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")  # Poetry uses that one, as under stock
    if _mentions("poetry", ground.commands) and not activated:
        where = ask(("poetry", "--no-ansi", "env", "info", "--path"), folder, environ)
        if not where and any(_NEEDS_ENV.search(command) for command in ground.commands):
            ask(
                ("poetry", "--no-ansi", "--no-interaction", "run", "true"), folder, environ
            )  # makes it, as it would here
            where = ask(("poetry", "--no-ansi", "env", "info", "--path"), folder, environ)
        if os.path.isabs(where):
            found["VIRTUAL_ENV"] = where
    envs = {match["env"] or match["of"] or environ.get("HATCH_ENV", "default") for match in _hatch(ground.commands)}
    if len(envs) == 1 and not environ.get(_HATCH_PATH):
        where = ask(("hatch", "env", "find", envs.pop()), folder, environ)
        if os.path.isabs(where) and "\n" not in where:
            found[_HATCH_PATH] = where
    return found


def _hatch(commands: Collection[str]) -> list[re.Match[str]]:
    return [match for command in commands for match in _HATCH_ENV.finditer(command)]


class Asker:
    """Asks managers, each question once: an answer takes a second.

    A question that had no answer is asked again after another was asked that is new: what was not there may have been
    made by it.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], tuple[str, int]] = {}
        """Each with how many questions there had been."""

    def __call__(self, argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
        """Run a manager in a directory; what it prints, empty if it fails or is not there."""
        key = (argv, folder, frozenset(environ.items()))
        answer, when = self._answers.setdefault(key, ("", 0))
        if not answer and when < len(self._answers):
            answer = _asked(argv, folder, environ)
            self._answers[key] = (answer, len(self._answers))
        return answer


def _asked(argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env=dict(environ),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
