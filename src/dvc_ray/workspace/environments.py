"""Environments that commands use or make: none may name a stage workspace, which will be removed.

Environment managers are told where the user's project is (`dvc_ray.repo.run.environment_managers`). Commands that
bypass this (``pip install -e .``, ``uv run --project .``, ``python -m venv``) write absolute paths of their working
directory: into an environment of the user that the workspace has as a link, or into a new one that is installed. Those
paths are rewritten to name the user's tree.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from dvc_ray.files import atomic_write
from dvc_ray.paths import is_under
from dvc_ray.repo.inputs.ignored import makes_environment
from dvc_ray.values.task import StageTask

_SLACK: Final = 2_000_000_000
"""Nanoseconds by which a file system's clock may be behind ours."""
_DEEP: Final = 3
"""Levels below a folder of environments at which one may lie: ``.pixi/envs/default``."""
_PARENTS: Final = re.compile(r"\..+|.*envs?")
"""Names of folders that may hold environments; others may be data with any number of folders."""
_LARGEST: Final = 1 << 20
"""Maximum size in bytes of a file that is searched for paths."""
_NAMED: Final = ("VIRTUAL_ENV", "CONDA_PREFIX", "HATCH_ENV_TYPE_VIRTUAL_PATH", "UV_PROJECT_ENVIRONMENT")
"""Variables that name an environment."""
_PROJECTS: Final = ("UV_PROJECT", "PDM_PROJECT")
"""Variables that name a project which has its environment in ``.venv``."""
_HOLDERS: Final = frozenset(
    {"pyproject.toml", "setup.py", "Pipfile", "pixi.toml", "requirements.txt", "environment.yml"}
)
"""Files beside which a command may look for an environment."""
_OF_PYTHON: Final = frozenset({"pyvenv.cfg", "conda-meta"})
_OF_NODE: Final = frozenset({".package-lock.json", ".yarn-integrity", ".yarn-state.yml", ".modules.yaml"})
_HOOKS: Final = (".pth", ".egg-link", ".py")
"""Endings of files in site-packages that lead to editable installs."""


class Environments:
    """The environments of one attempt: what its command writes into them is checked when it has ended.

    Args:
        task: The attempt, on the machine of the user's tree.
    """

    def __init__(self, task: StageTask) -> None:
        self._task = task
        self._env = dict(task.env)
        self._since = 0
        self._links: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        """Prepare for a command: link to where a manager will make an environment in the user's tree."""
        self._since = time.time_ns() - _SLACK
        self._links = tuple(self._promised())
        for link in self._links:
            os.symlink(self._at_home(link), link)
        return self

    def __exit__(self, *_: object) -> None:
        """Make environments name the user's tree where a command has made them name its workspace."""
        self.put_right()
        for link in self._links:
            with contextlib.suppress(OSError):
                if os.path.islink(link):  # the command has put nothing in its place
                    os.unlink(link)

    def put_right(self) -> None:
        """Do as at the end of a command; for one that was lost with its worker, check files of any age."""
        swap = _Swap(self._task.workspace, self._task.home)
        for folder in self._folders():
            _put_right(folder, swap, self._since)
        for folder in _holders(self._task):
            with contextlib.suppress(OSError):
                swap.rewrite(os.path.join(folder, ".pdm-python"))

    def _at_home(self, path: str) -> str:
        return os.path.join(self._task.home, os.path.relpath(path, self._task.workspace))

    def _promised(self) -> Iterator[str]:
        cmd = self._task.definition.get("cmd") or ""
        if self._env.get("UV_PROJECT_ENVIRONMENT") or makes_environment([cmd] if isinstance(cmd, str) else cmd):
            return
        outs = set(self._task.outs)
        for project in dict.fromkeys(self._env[name] for name in _PROJECTS if name in self._env):
            part = os.path.relpath(os.path.join(project, ".venv"), self._task.home)
            link = os.path.join(self._task.workspace, part)
            wanted = not part.startswith(os.pardir) and not is_under(part, outs)
            if wanted and not os.path.lexists(link) and os.path.isdir(os.path.dirname(link)):
                yield link

    def _folders(self) -> tuple[str, ...]:
        """Environments that the command may have written to, by their real paths."""
        which = shutil.which("python", path=self._env.get("PATH", ""))
        found = [sys.prefix, os.path.dirname(os.path.dirname(which)) if which else ""]
        found += (self._env[name] for name in _NAMED if self._env.get(name))
        found += (os.path.join(self._env[name], ".venv") for name in _PROJECTS if self._env.get(name))
        code = {os.path.dirname(path) for path in self._task.code}
        for folder in _holders(self._task):
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder):
                    if entry.is_dir() and entry.name not in {".dvc", ".git"}:
                        part = os.path.relpath(entry.path, self._task.workspace)
                        found += _within(entry.path, _DEEP) if part not in code else ()
        real = (os.path.realpath(folder) for folder in found if os.path.isabs(folder))
        return tuple(dict.fromkeys(folder for folder in real if _is_environment(folder)))


def _holders(task: StageTask) -> tuple[str, ...]:
    """Folders of a workspace in which an environment may lie."""
    beside = (os.path.dirname(path) for path in task.code if os.path.basename(path) in _HOLDERS)
    parts = dict.fromkeys(os.path.normpath(part) for part in (".", task.project, task.cwd, task.wdir, *beside))
    return tuple(os.path.normpath(os.path.join(task.workspace, part)) for part in parts)


def _within(folder: str, deep: int) -> Iterator[str]:
    if _is_environment(folder):
        yield folder
    elif deep > 1 and (deep < _DEEP or _PARENTS.fullmatch(os.path.basename(folder))):
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    yield from _within(entry.path, deep - 1)


def is_environment(folder: str) -> bool:
    """Whether a folder is an environment, made as a whole by one tool: two of them must not be mixed."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in _OF_PYTHON | _OF_NODE)


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in _OF_PYTHON)


class _Swap:
    """Replaces one path by another in files.

    Args:
        old: The path to replace; absolute.
        new: The path to name instead.
    """

    def __init__(self, old: str, new: str) -> None:
        pairs = {os.fsencode(old): os.fsencode(new), quote(old).encode(): quote(new).encode()}  # URLs are quoted
        self._pairs = [(re.compile(re.escape(was) + rb"(?![\w.-])"), to) for was, to in pairs.items()]

    def rewrite(self, path: str) -> bool:
        """Rewrite a text file atomically; returns whether it had to be changed."""
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return False
        data = new = Path(path).read_bytes()
        if b"\0" in data:
            return False
        for pattern, to in self._pairs:
            new = pattern.sub(lambda _, to=to: to, new)  # type: ignore[misc]
        if new != data:
            atomic_write(path, new, like=found)  # not in place: some tools link what they install to their own cache
        return new != data


def _put_right(folder: str, swap: _Swap, since: int) -> None:
    fixed = set()
    records = []
    for path in _written(folder, since):
        with contextlib.suppress(OSError):  # another stage's command has replaced it, or the disk is read-only
            if os.path.basename(path) == "RECORD":
                records.append(path)
            elif swap.rewrite(path):
                fixed.add(path)
    for path in records if fixed else ():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            _record(path, fixed)


def _written(folder: str, since: int) -> Iterator[str]:
    """Files in those places of an environment where tools write absolute paths, if changed since a time."""
    yield from _new([os.path.join(folder, "pyvenv.cfg")], since)
    for name in ("bin", "conda-meta"):
        yield from _new(_names(os.path.join(folder, name)), since)
    for kernel in _names(os.path.join(folder, "share/jupyter/kernels")):
        yield from _new([os.path.join(kernel, "kernel.json")], since)
    for python in _names(os.path.join(folder, "lib")):
        if os.path.basename(python).startswith("python"):
            names = list(_names(os.path.join(python, "site-packages")))
            yield from _new((path for path in names if path.endswith(_HOOKS)), since)
            for about in _new((path for path in names if path.endswith(".dist-info")), since):
                yield from _new((os.path.join(about, name) for name in ("direct_url.json", "RECORD")), since)


def _names(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from (os.path.join(folder, name) for name in os.listdir(folder))


def _new(paths: Iterable[str], since: int) -> Iterator[str]:
    for path in paths:
        with contextlib.suppress(OSError):
            if os.lstat(path).st_ctime_ns >= since:
                yield path


def _record(path: str, fixed: set[str]) -> None:
    """Update the hashes and sizes of files in a RECORD (PEP 376)."""
    site = os.path.dirname(os.path.dirname(path))
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    new = [_line(line, site, fixed) for line in lines]
    if new != lines:
        atomic_write(path, "".join(new).encode(), like=os.lstat(path))


def _line(line: str, site: str, fixed: set[str]) -> str:
    name, digest, size = [*line.rstrip("\r\n").rsplit(",", 2), "", ""][:3]
    file = os.path.normpath(os.path.join(site, name.strip('"')))
    if not digest or not size or file not in fixed:
        return line
    data = Path(file).read_bytes()
    text = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={text},{len(data)}{line[len(line.rstrip()) :]}"
