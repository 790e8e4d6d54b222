"""Filling a stage workspace with code and deps, by links instead of copies where possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dvc_ray.files import Stamp, atomic_write
from dvc_ray.paths import files_under, remove
from dvc_ray.repo.dvc import workspace_config
from dvc_ray.repo.run import worker_run
from dvc_ray.values.task import StageTask
from dvc_ray.workspace import git_copy, reuse
from dvc_ray.workspace.ignored_links import link_text

CODE_LIST: Final = os.path.join(".dvc", "tmp", "code.txt")
"""Lists the snapshot's files, relative to the DVC project; `dvc_ray.init` hands the list to nested workers."""
CODE_LINK_FROM: Final = 1 << 23
"""Bytes from which a file of the snapshot is linked rather than copied: such a file is data, whatever its name."""
_INTERNAL: Final = frozenset({".dvc", ".git"})

Identity = tuple[int, int, int]
"""Device, inode and, for a symbolic link, its modification time, else 0: the inode of a removed link may be used
again. That of a hard link is not, as long as the user's file is there. Not a `Stamp`: the content does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialised:
    """A workspace that a command can run in."""

    root: str
    given: tuple[str, ...]
    """What it shares with the user's tree; relative to both."""
    stamps: dict[str, Stamp] = field(repr=False)
    """Stamps of the files put there that are neither outs nor shared, by path relative to the root."""
    shared: dict[str, Identity] = field(repr=False)
    """Identities of the links to Git-ignored files and folders, by path relative to the root."""


def materialise(
    task: StageTask, fill: Callable[[str], None] | None = None, covered: Collection[str] = frozenset()
) -> Materialised:
    """Make the workspace of an attempt.

    Files of the snapshot are copied, because a command may rewrite them; deps and includes are hard-linked to the
    user's (a dep that a command changes in place is changed for the user, as under ``dvc repro``), or copied where
    the file system refuses a link. Each Git-ignored file or folder becomes a link: what a command writes there goes to
    the user's own.

    Args:
        task: The attempt.
        fill: Called first; puts files that do not come from the tree.
        covered: Files of the snapshot that `fill` puts there, relative to the tree.

    Raises:
        OSError: A file cannot be read or written.
    """
    root = Path(task.workspace)
    if not reuse.claim(str(root), task.tree, set(task.code) - set(covered)):
        root.mkdir(parents=True)
    if fill is not None:
        fill(str(root))
    put = Putter(task.tree, str(root), whole=task.links)
    for path in task.code:
        with contextlib.suppress(FileNotFoundError):  # another stage has removed it meanwhile
            put(path, link_from=CODE_LINK_FROM)
    for path in task.copies:
        for file in files_under(task.tree, path, skip=()):  # all of it: it will replace the user's
            put(file)
    of_git = [path for path in task.links if path.split("/")[0] == ".git"]
    for path in task.links:
        for file in files_under(task.tree, path) if path not in of_git else ():
            put(file, link_from=None if ".dvc" in file.split("/") else 0)
    shared = dict(_share(task, put))
    _make_folders(task, root)
    project = root / task.project
    worker_run.configure(str(project), task.config)
    names = (os.fsencode(os.path.relpath(path, task.project)) for path in task.code if "\n" not in path)
    atomic_write(project / CODE_LIST, b"".join(name + b"\n" for name in names))
    _put_git(task, root, shared)
    for path in of_git:  # instead of what the copy of the repository has there
        for file in files_under(task.tree, path, skip=()):
            remove(str(root / file))
            put(file)
    given = tuple(path for path in (*task.links, *task.copies) if (root / path).exists())
    reuse.record(str(root), [path for path in task.code if not workspace_config.is_config(path)])
    made = dict(stamps(str(root), unstamped(task))) | settings_stamp(task)
    return Materialised(root=str(root), given=given, stamps=made, shared=shared)


def _put_git(task: StageTask, root: Path, shared: Mapping[str, Identity]) -> None:
    if task.git.places:
        # Git ignores what is a file in both trees, or a link in both; of thousands, only the few others need an entry.
        links = [path for path, made_as in shared.items() if made_as[-1]]
        hidden = [path for path in links if not os.path.islink(os.path.join(task.home, path))]
        git_copy.place(task.git, str(root), hidden)
    elif os.path.lexists(os.path.join(task.tree, ".git")):
        (root / ".git").write_text(git_copy.NO_GIT, encoding="ascii")


def stamps(root: str, but: Collection[str], base: str = "") -> Iterator[tuple[str, Stamp]]:
    """Stamp the files and links of a workspace, except DVC's and Git's own, at any depth.

    Args:
        root: The workspace.
        but: Paths that are left out with all that is in them; relative to it.
        base: The folder to begin in, relative to the root, with a slash at its end.
    """
    entries: list[os.DirEntry[str]] = []
    with contextlib.suppress(OSError):
        entries += os.scandir(os.path.join(root, base))
    for entry in entries:
        path = base + entry.name
        if path in but:
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _INTERNAL:
                yield from stamps(root, but, path + "/")
        elif entry.name != ".git":
            yield path, stamp(entry.path)


def settings_stamp(task: StageTask) -> dict[str, Stamp]:
    """Stamp the project's ``.dvc/config``, if there is one: a command may write this file of DVC's for the user.

    Changes to it are not installed (`gate`), and the user is told.
    """
    path = os.path.normpath(os.path.join(task.project, ".dvc", "config"))
    with contextlib.suppress(FileNotFoundError):
        return {path: stamp(os.path.join(task.workspace, path))}
    return {}


def unstamped(task: StageTask) -> Collection[str]:
    """Paths of a workspace that are not stamped: outs are installed anyway, and shared files are the user's."""
    return {*task.outs, *task.ignored}


def stamp(path: str) -> Stamp:
    """Stamp one file; a symbolic link is stamped itself.

    With the mode, which is installed, too. Without the change time: a second name for a file does not change the file.
    """
    return Stamp.of(os.lstat(path), mode=True)


class Putter:
    """Puts files of a tree into a workspace, with few system calls per file, because there may be thousands.

    Args:
        tree: The tree.
        root: The workspace.
        whole: Files that are put unchanged, because they were asked for by name; other DVC settings lose their secrets.
            None: all files are put unchanged.
    """

    def __init__(self, tree: str, root: str, whole: Collection[str] | None = None) -> None:
        self._tree = tree
        self._root = root
        self._whole = whole
        self._folders = {root}

    def __call__(self, path: str, link_from: int | None = None) -> None:
        """Put a file, unless it is there already.

        Args:
            path: Relative to both.
            link_from: Size in bytes from which it is linked rather than copied; None: never.
        """
        source, target = os.path.join(self._tree, path), os.path.join(self._root, path)
        if os.path.lexists(target):
            return
        found = os.lstat(source)
        self.make_parent(target)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(_link_target(self._tree, source), target)
        elif stat.S_ISDIR(found.st_mode):  # an empty folder, or a Git submodule that is not checked out
            os.mkdir(target)
        elif self._whole is not None and workspace_config.is_config(path) and path not in self._whole:
            Path(target).write_bytes(workspace_config.without_secrets(Path(source).read_bytes()))
            _be_as(target, found)
        elif link_from is None or found.st_size < link_from or not _linked(source, target):
            _copy(source, target, found)

    def make_parent(self, target: str) -> None:
        """Make the folder that contains a path of the workspace; absolute."""
        folder = os.path.dirname(target)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)


def _linked(source: str, target: str) -> bool:
    """Make a hard link; False on another file system, or on one without links."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _copy(source: str, target: str, found: os.stat_result) -> None:
    """Copy content, mode and time: Python compares times with those in its .pyc files, make with those of targets."""
    try:
        shutil.copyfile(source, target)
    except (PermissionError, shutil.SpecialFileError):
        if not _linked(source, target) and not _stands_for(source, target):
            raise
    else:
        _be_as(target, found)


def _stands_for(source: str, target: str) -> bool:
    """Stand in for a file that we may not read with one nobody may read: commands get the same error as in the tree."""
    if os.access(source, os.R_OK):
        return False
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0))
    return True


def _be_as(target: str, found: os.stat_result) -> None:
    os.chmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _link_target(tree: str, source: str) -> str:
    """Keep a link within the tree as it is; make one that leads out of it absolute."""
    target = os.readlink(source)
    resolved = os.path.normpath(os.path.join(os.path.dirname(source), target))
    return target if os.path.isabs(target) or resolved.startswith(tree + os.sep) else resolved


def _share(task: StageTask, put: Putter) -> Iterator[tuple[str, Identity]]:
    """Link the user's ignored files and folders; a folder of any size is one link."""
    for path in task.folders:
        os.makedirs(os.path.join(task.workspace, path), exist_ok=True)
    for path in task.ignored:
        source, target = os.path.join(task.home, path), os.path.join(task.workspace, path)
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            found = os.lstat(source)
            put.make_parent(target)
            if not stat.S_ISREG(found.st_mode) or not _linked(source, target):
                os.symlink(link_text(task.home, path), target)
            yield path, identity(target)


def identity(path: str) -> Identity:
    """Tell a file or link from others; for a symbolic link, not its target."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns if stat.S_ISLNK(found.st_mode) else 0


def _make_folders(task: StageTask, root: Path) -> None:
    """Make the folders a command may expect to find: where it runs, what lies there, and where its outs go.

    Only the folders: what Git ignores in them is not given to a stage that does not declare it.
    """
    folders = {task.project, task.cwd, task.wdir, *map(os.path.dirname, task.outs)}
    home = task.tree if task.temporary else task.home  # an experiment's copy has no folders without files
    for base in {task.project, task.wdir}:
        full = os.path.join(home, base)
        if os.path.isdir(full):
            found = [entry.name for entry in os.scandir(full) if entry.is_dir(follow_symlinks=False)]
            folders |= {os.path.join(base, name) for name in found if not name.startswith(".")}
    for folder in folders - set(task.outs):
        there = any(os.path.isdir(os.path.join(tree, folder)) for tree in (task.tree, home))
        if there and not os.path.lexists(root / folder):
            (root / folder).mkdir(parents=True)
