"""Every local path of a run, in one place.

<project>/.dvc/tmp/ray/locations.json  which nodes of a cluster have which data; the next run prefers them
<project>/.dvc/tmp/ray/told-of-<what>  marks a notice as shown: what goes to a cluster, what stays in the remote
<project>/.dvc/tmp/ray/runs/<run id>/
    driver.json            locked by the driver: tells a live run from a dead one
    events.jsonl           all events except the output of commands
    logs/<stage>.<attempt>.log
    kept/                  files that a stage wrote where the user had others
    work/<n>/              stage workspaces; gone when the run ends
    work/<n>.result        result of the attempt in it, until the driver has taken it
    work/<n>.copies        which files were copied into it
    work/git/<n>           copies of a repository's state, from which the .git of workspaces are made
    work/idle/<n>          workspaces of finished attempts, for others to reuse
    storage/               where `dvc_ray.storage_path` leads on one machine
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dvc_ray.files import walk_files

RESULT: Final = ".result"
"""Suffix of the file beside a workspace to which the worker writes its result."""
IN_USE: Final = ".in-use"
"""File in a run's folder on a node, locked by the processes that work there."""
NODE_DIR: Final = "DVC_RAY_NODE_DIR"
"""Environment variable of a node that names the folder for dvc-ray's files."""
INTERNAL: Final = frozenset({".dvc", ".git"})
"""Names of DVC's and Git's own folders, at any depth."""
_DVCS_OWN: Final = frozenset({"cache", "config.local", "ray.local.toml", "tmp"})
_NAME_LIMIT: Final = 150
KEEP_RUNS: Final = 20
"""Number of runs whose logs are kept on this disk and, for each owner, in a remote."""


def runs_dir(dvc_dir: str) -> Path:
    """Directory of all runs of a project, under its ``.dvc``."""
    return Path(dvc_dir, "tmp", "ray", "runs")


def project_root(start: Path) -> Path | None:
    """Find the root of the innermost DVC project around a folder; None outside of one.

    As ``Repo.find_root`` (3.67.1), except that DVC does not look beyond mount points.
    """
    return next((folder for folder in (start, *start.parents) if (folder / ".dvc").is_dir()), None)


def locations(dvc_dir: str) -> Path:
    """File that records which nodes of a cluster have which data of a project."""
    return Path(dvc_dir, "tmp", "ray", "locations.json")


def told(dvc_dir: str, what: str) -> Path:
    """File that marks a notice as shown, for notices that are shown once per project."""
    return Path(dvc_dir, "tmp", "ray", f"told-of-{what}")


def node_folder(environ: Mapping[str, str]) -> Path:
    """Folder for dvc-ray's files on a node that shares no disk with the head.

    NODE_DIR names it; by default it is in the user's cache folder.
    """
    if chosen := environ.get(NODE_DIR):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dvc-ray" / "node"


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The paths of one run."""

    root: Path

    @property
    def driver(self) -> Path:
        """File that the driver of the run keeps locked."""
        return self.root / "driver.json"

    @property
    def events(self) -> Path:
        """The events of the run."""
        return self.root / "events.jsonl"

    @property
    def storage(self) -> Path:
        """Checkpoints and trial results of the run's stages."""
        return self.root / "storage"

    @property
    def work(self) -> Path:
        """Parent of the stage workspaces."""
        return self.root / "work"

    @property
    def git(self) -> Path:
        """Copies of repository state, from which the workspaces' ``.git`` are made."""
        return self.work / "git"

    def workspace(self, number: int) -> Path:
        """Workspace of the run's attempt ``number``; short, because commands make sockets in it."""
        return self.work / str(number)

    def log(self, address: str, attempt: int) -> Path:
        """Full output of an attempt."""
        return self.root / "logs" / f"{_file_name(address)}.{attempt}.log"

    def kept(self, address: str, attempt: int) -> Path:
        """Files that an attempt wrote where the user has others."""
        return self.root / "kept" / f"{_file_name(address)}.{attempt}"

    @property
    def kept_of_experiment(self) -> str:
        """Files that an experiment wrote where the user has others."""
        return str(self.root / "kept" / "experiment")


def _file_name(address: str) -> str:
    """Make a file name from a stage's address, within the limit of 255 bytes and with room for a suffix."""
    name = quote(re.sub(r"^dvc\.yaml:", "", address), safe="@+=,. ")
    if len(name) <= _NAME_LIMIT:
        return name
    return f"{name[:_NAME_LIMIT]}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def key_name(address: str) -> str:
    """Make a part of an object's key from a stage's address: some stores reject ``..``, others ``%``."""
    return _file_name(address).replace("%", "=")


def is_under(path: str, tops: Collection[str]) -> bool:
    """Whether a path is one of `tops` or lies under one of them."""
    while path:
        if path in tops:
            return True
        path = path.rpartition("/")[0]
    return False


def is_dvcs_own(path: str) -> bool:
    """Whether a path is private to DVC: the user's local settings, which may hold keys, or a temporary file.

    These are the entries of the ``.dvc/.gitignore`` that ``dvc init`` writes (3.67.1), except the cache.

    Args:
        path: Relative to a tree, in normal form.
    """
    _, found, inner = f"/{path}/".rpartition("/.dvc/")
    return bool(found) and inner.split("/")[0] in {"config.local", "tmp"}


def files_under(tree: str, path: str, skip: Collection[str] = INTERNAL) -> Iterator[str]:
    """List the files, links and empty folders under a folder; a file or link is listed itself.

    In a ``.dvc``, only what Git may track is listed: no local settings, no temporary files, no cache.

    Args:
        tree: What the path is relative to.
        path: A file or folder.
        skip: Names of folders to leave out.
    """
    full = os.path.join(tree, path)
    if not os.path.isdir(full) or os.path.islink(full):
        yield path
        return
    top = os.path.relpath(full, tree)
    if skip and os.path.basename(top) == ".dvc":
        names: set[str] = set()
        with contextlib.suppress(OSError):  # unreadable: counts as empty, as in `walk_files`
            names.update(os.listdir(full))
        for name in sorted(names - {*skip} - _DVCS_OWN):
            yield from files_under(tree, os.path.join(top, name), skip)
        return
    found = walk_files(tree, top, skip=skip, empty=True)
    yield from (file for file in found if os.path.basename(file) not in skip)


def with_folders(paths: Iterable[str]) -> set[str]:
    """Return the paths and all folders above them except the root: all that each is under (`is_under`)."""
    found: set[str] = set()
    for path in paths:
        top = path
        while top and top not in found:
            found.add(top)
            top = top.rpartition("/")[0]
    return found


def outside(paths: tuple[str, ...], tops: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that are not under any of `tops` (`is_under`); only a few of thousands are compared.

    Args:
        paths: The paths, sorted.
        tops: The paths to leave out, with all below them.
    """
    spans = []
    for top in set(tops):
        for first, beyond in ((top, top + "\0"), (top + "/", top + "0")):  # "0" is the character after "/"
            begin = bisect.bisect_left(paths, first)
            spans.append((begin, bisect.bisect_left(paths, beyond, begin)))
    left: list[str] = []
    done = 0
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        left += paths[done:begin]
        done = max(done, end)
    return (*left, *paths[done:]) if done else paths


def remove(path: str) -> None:
    """Remove a file, a link or a directory, if it is there.

    Raises:
        OSError: It cannot be removed.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a directory and all in it, even if a command has left read-only folders there.

    Raises:
        OSError: Something cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except PermissionError:
        open_up(path)
        for folder, names, _ in os.walk(path):
            for name in names:
                open_up(os.path.join(folder, name))  # before os.walk reads it
        shutil.rmtree(path)


def open_up(folder: str) -> int | None:
    """Give the owner of a folder full access; return its former mode, None if nothing had to change."""
    mode = stat.S_IMODE(os.lstat(folder).st_mode)
    if os.path.islink(folder) or mode & stat.S_IRWXU == stat.S_IRWXU:
        return None
    os.chmod(folder, mode | stat.S_IRWXU)
    return mode


def remove_workspace(path: str) -> None:
    """Rename a workspace, then remove it, so that nobody takes a half-removed one for the work of a command.

    Raises:
        OSError: Something cannot be removed.
    """
    gone = f"{path}.gone"
    with contextlib.suppress(OSError):
        os.rename(path, gone)
    remove(gone if os.path.lexists(gone) else path)
