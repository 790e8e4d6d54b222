"""Environment managers (uv, poetry, pdm, pipenv, hatch), which find the user's environment by their working directory.

A command runs in a copy of the project at another path. A manager that searches for its project from there would make
an environment for each stage, or make the user's environment point to the copy, which will be removed (tried with real
managers: docs/decisions). So variables tell the manager where the user's project is; the working directory stays the
workspace. `variables` is pure.
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
    """A manager that reads the location of its project from a variable."""

    name: str
    """Its command."""
    variable: str
    marker: str
    """The file by which it finds its project: the nearest one upwards."""
    signs: frozenset[str]
    """Files beside the marker, or above it, that show that the project uses this manager."""
    names_marker: bool = False
    """Whether the variable names the marker rather than the marker's folder."""
    not_with: str = ""
    """A subcommand that it refuses while the variable is set."""


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
"""Names of files that tell which manager a project uses."""
_LEADING: Final = re.compile(r"\s*cd\s+(?P<folder>[\w./@+=-]+)\s*(?:&&|;|$)(?P<rest>.*)", re.DOTALL)
_WANDERS: Final = re.compile(r"(?<![\w-])(?:cd|pushd)\s|\s(?:-C|--directory|--project)[\s=]")
_LEAVES: Final = re.compile(r"(?<![\w-])(?:cd|pushd)\s+(?![\w.@+=-][\w./@+=-]*(?:[\s;&|)]|$))")
"""A change to a directory that the text does not tell, or that is outside of the tree."""
_BIN: Final = re.compile(r"(?<![\w./@+=-])(?P<folder>[\w./@+=-]+)/bin/")
"""The folder of an environment that a command names."""
_HATCH_ENV: Final = re.compile(
    r"(?<![\w-])hatch\s+(?:(?:-e|--env)[\s=](?P<env>[\w.-]+)\s+)?run\s+(?:(?P<of>[\w.-]+):)?"
)
_NEEDS_ENV: Final = re.compile(r"(?<![\w-])poetry\s(?:.*\s)?(?:run|install|sync|add|update|shell)(?![\w-])")
LOOKED_AT: Final = 20_000
"""How many characters of a command are searched for the words above; more would take long."""
_PATIENCE: Final = 120.0
"""Seconds that a manager may take to say where its environment is, or to make an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The facts about a command on which managers depend; paths are relative to the user's tree."""

    home: str
    """Root of the user's tree."""
    wdir: str
    """Working directory of the stage."""
    commands: tuple[str, ...]
    files: frozenset[str]
    """Files of the tree whose names are in `FILES`."""
    outs: frozenset[str]
    """Outs of the stage."""
    environ: Mapping[str, str] = field(repr=False)
    """The caller's environment."""


Ask = Callable[[tuple[str, ...], str, Mapping[str, str]], str]
"""Runs an argv in a directory of the user's tree with an environment; returns its output, empty if it fails."""


def variables(ground: Ground, ask: Ask) -> dict[str, str]:
    """Find the variables that a command needs so that managers find the user's project and environment.

    Args:
        ground: What the command runs on.
        ask: Asks a manager.

    Returns:
        The variables: none for a manager whose use no project file shows, and none that the caller has set, except for
        a relative path, which becomes absolute.
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
    """The project that a manager would find under stock DVC; None if there is none, or it cannot be determined."""
    projects = {os.path.dirname(path) for path in ground.files if os.path.basename(path) == manager.marker}
    named = _mentions(manager.name, ground.commands)
    starts = [_start(ground.wdir, command) for command in ground.commands]
    found = {_nearest(start, projects) for start, _ in starts}
    if len(found) != 1 or (project := found.pop()) is None:
        return None
    if any(_LEAVES.search(command) for command in ground.commands):
        return None
    wanders = any(_WANDERS.search(rest) for _, rest in starts)
    if len(projects) > 1 and (wanders or not named):  # a script may change to another project
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
    """The directory in which a command works, after a leading ``cd``, and the rest of the command."""
    found = _LEADING.match(command)
    if found is None:
        return wdir, command
    return os.path.normpath(os.path.join(wdir, found["folder"])), found["rest"]


def _nearest(folder: str, projects: Collection[str]) -> str | None:
    """The nearest project at or above a folder; the tree's root is the empty path."""
    return next((each for each in upwards(folder) if each in projects), None)


def is_at_or_above(folder: str, other: str) -> bool:
    """Whether a folder of the tree is another one or contains it."""
    return not folder or other == folder or other.startswith(folder + os.sep)


def _by_path_hash(ground: Ground, ask: Ask) -> dict[str, str]:
    """Find variables for Poetry and hatch, which name an environment outside the project by a hash of its path."""
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
    activated = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")  # Poetry uses it, as under stock DVC
    if _mentions("poetry", ground.commands) and not activated:
        where = ask(("poetry", "--no-ansi", "env", "info", "--path"), folder, environ)
        if not where and any(_NEEDS_ENV.search(command) for command in ground.commands):
            ask(
                ("poetry", "--no-ansi", "--no-interaction", "run", "true"), folder, environ
            )  # makes one, as in the user's tree
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
    """Asks managers, each question once, because an answer takes a second.

    A question without an answer is asked again once a new question has been asked, because that may have made the
    missing environment.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], tuple[str, int]] = {}
        """Each answer, with the number of questions that had been asked."""

    def __call__(self, argv: tuple[str, ...], folder: str, environ: Mapping[str, str]) -> str:
        """Run a manager in a directory; returns its output, empty if it fails or is not installed."""
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
