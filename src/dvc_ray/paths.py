"""Every local path of a run, in one place.

<project>/.dvc/tmp/ray/locations.json  which nodes of a cluster have which data, a preference for the next run
<project>/.dvc/tmp/ray/told-of-<what>  said once a project: what goes to a cluster, what stays in the remote
<project>/.dvc/tmp/ray/runs/<run id>/
    driver.json            owned by the driver: tells a live run from a dead one
    events.jsonl           what has happened, but for what commands printed
    logs/<stage>.<attempt>.log
    kept/                  files that a stage wrote where the user had others
    work/<n>/              stage workspaces; gone when the run ends
    work/<n>.result        what became of the attempt in it, until the driver has taken it
    work/<n>.copies        what was copied into it
    work/git/<n>           what their .git is made of: a copy of the state of a repository
    work/idle/<n>          workspaces whose attempt is over, for others to be made of
    storage/               what `dvc_ray.storage_path` gives on one machine
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
"""Ending of the file beside a workspace in which the worker writes its result down."""
IN_USE: Final = ".in-use"
"""File in a run's folder on a node, locked by who works there."""
NODE_DIR: Final = "DVC_RAY_NODE_DIR"
"""Variable in a node's environment: where it keeps what is ours."""
INTERNAL: Final = frozenset({".dvc", ".git"})
"""Folders of DVC's and Git's own, at any depth."""
_DVCS_OWN: Final = frozenset({"cache", "config.local", "ray.local.toml", "tmp"})
_NAME_LIMIT: Final = 150
KEEP_RUNS: Final = 20
"""Runs whose logs are kept, here and, of each owner, in a remote."""


def runs_dir(dvc_dir: str) -> Path:
    """Directory of all runs of a project, under its ``.dvc``."""
    return Path(dvc_dir, "tmp", "ray", "runs")


def project_root(start: Path) -> Path | None:
    """The innermost DVC project that a folder is in; None outside of one.

    As ``Repo.find_root`` (3.67.1), but for mount points: there it looks no further.
    """
    return next((folder for folder in (start, *start.parents) if (folder / ".dvc").is_dir()), None)


def locations(dvc_dir: str) -> Path:
    """File that remembers which nodes of a cluster have which data of a project."""
    return Path(dvc_dir, "tmp", "ray", "locations.json")


def told(dvc_dir: str, what: str) -> Path:
    """File that says that the user of a project has been told something that is said once."""
    return Path(dvc_dir, "tmp", "ray", f"told-of-{what}")


def node_folder(environ: Mapping[str, str]) -> Path:
    """Where a node that shares no disk with the head keeps what is ours.

    What NODE_DIR says, else the user's cache folder.
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
        """Who drives the run."""
        return self.root / "driver.json"

    @property
    def events(self) -> Path:
        """What has happened in the run."""
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
        """What the workspaces' ``.git`` are made of."""
        return self.work / "git"

    def workspace(self, number: int) -> Path:
        """Workspace of the run's attempt ``number``; short, because commands make sockets in it."""
        return self.work / str(number)

    def log(self, address: str, attempt: int) -> Path:
        """Full output of an attempt."""
        return self.root / "logs" / f"{_file_name(address)}.{attempt}.log"

    def kept(self, address: str, attempt: int) -> Path:
        """What an attempt wrote where the user has something else."""
        return self.root / "kept" / f"{_file_name(address)}.{attempt}"

    @property
    def kept_of_experiment(self) -> str:
        """What an experiment wrote where the user has something else."""
        return str(self.root / "kept" / "experiment")


def _file_name(address: str) -> str:
    """A stage's address as a file name: within the 255 bytes of one, with room for an ending."""
    name = quote(re.sub(r"^dvc\.yaml:", "", address), safe="@+=,. ")
    if len(name) <= _NAME_LIMIT:
        return name
    return f"{name[:_NAME_LIMIT]}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def key_name(address: str) -> str:
    """A stage's address as a part of an object's key: some stores do not take ``..``, others not ``%``."""
    return _file_name(address).replace("%", "=")


def is_under(path: str, tops: Collection[str]) -> bool:
    """Whether a path is one of some others or lies under one of them."""
    while path:
        if path in tops:
            return True
        path = path.rpartition("/")[0]
    return False


def is_dvcs_own(path: str) -> bool:
    """Whether a path is of what DVC keeps for itself: the user's own settings, which may hold keys, temporary files.

    As ``.dvc/.gitignore`` of ``dvc init`` has it (3.67.1), but for the cache.

    Args:
        path: Relative to a tree, in normal form.
    """
    _, found, inner = f"/{path}/".rpartition("/.dvc/")
    return bool(found) and inner.split("/")[0] in {"config.local", "tmp"}


def files_under(tree: str, path: str, skip: Collection[str] = INTERNAL) -> Iterator[str]:
    """The files and links under a path, or itself; of folders without any, the folders.

    Of a ``.dvc``, no more than what Git may track: not the user's settings, nothing temporary, not the cache.

    Args:
        tree: What the path is relative to.
        path: A file or folder.
        skip: Names of folders that are left out.
    """
    full = os.path.join(tree, path)
    if not os.path.isdir(full) or os.path.islink(full):
        yield path
        return
    top = os.path.relpath(full, tree)
    if skip and os.path.basename(top) == ".dvc":
        names: set[str] = set()
        with contextlib.suppress(OSError):  # as for a folder further down
            names.update(os.listdir(full))
        for name in sorted(names - {*skip} - _DVCS_OWN):
            yield from files_under(tree, os.path.join(top, name), skip)
        return
    found = walk_files(tree, top, skip=skip, empty=True)
    yield from (file for file in found if os.path.basename(file) not in skip)


def with_folders(paths: Iterable[str]) -> set[str]:
    """Some paths and all folders that they lie in, but the root: all of which each is under, as `is_under`."""
    found: set[str] = set()
    for path in paths:
        top = path
        while top and top not in found:
            found.add(top)
            top = top.rpartition("/")[0]
    return found


def outside(paths: tuple[str, ...], tops: Iterable[str]) -> tuple[str, ...]:
    """Those of some paths that are not under any of some others, as `is_under`; of thousands, few are looked at.

    Args:
        paths: Sorted.
        tops: The others.
    """
    spans = []
    for top in set(tops):
        for first, beyond in ((top, top + "\0"), (top + "/", top + "0")):  # a zero comes next after a slash
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
    """Remove a directory and all in it, also where a command has left folders that nobody may write to.

    Raises:
        OSError: Something cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except PermissionError:
        open_up(path)
        for folder, names, _ in os.walk(path):
            for name in names:
                open_up(os.path.join(folder, name))  # before it is looked into
        shutil.rmtree(path)


def open_up(folder: str) -> int | None:
    """Let its owner write to a folder; the mode it had, None if there was nothing to do."""
    mode = stat.S_IMODE(os.lstat(folder).st_mode)
    if os.path.islink(folder) or mode & stat.S_IRWXU == stat.S_IRWXU:
        return None
    os.chmod(folder, mode | stat.S_IRWXU)
    return mode


def remove_workspace(path: str) -> None:
    """Remove a workspace, its name first: nobody is to take one that is half gone for what a command has left.

    Raises:
        OSError: Something cannot be removed.
    """
    gone = f"{path}.gone"
    with contextlib.suppress(OSError):
        os.rename(path, gone)
    remove(gone if os.path.lexists(gone) else path)
