"""Data mode of the head where machines do not share its disk: what it sends them, and what they keep in the remote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dvc_ray.driver.retention import Retention
from dvc_ray.executors.base import Cluster
from dvc_ray.executors.shared_folders import seeing
from dvc_ray.files import Stamp, Version
from dvc_ray.node.bundles import pack, stamps_of_bundle
from dvc_ray.repo import Project
from dvc_ray.repo.data.in_remote import DataInRemote
from dvc_ray.runs.directory import left_in_remote, nothing_in_remote, results_in_remote
from dvc_ray.runs.results import LocalResults, RemoteResults, ResultStore
from dvc_ray.storage import Item, download
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.report import Notice
from dvc_ray.values.run import RunSettings
from dvc_ray.values.task import FileBundle, RemoteData, StageTask


class ViaRemote:
    """A `DataMode` in which data travels through a remote, and code with the task.

    Args:
        cluster: Where attempts run.
        listen: Receives notices of what the head does for other machines, and warnings for the user.
    """

    in_remote = True

    def __init__(self, cluster: Cluster, listen: Callable[[Notice], None]) -> None:
        self._cluster = cluster
        self._listen = listen
        self._held = contextlib.ExitStack()
        self._reach = self._held.enter_context(seeing(cluster))
        self._data: DataInRemote | None = None
        self._snapshot: FileBundle | None = None
        self._git: FileBundle | None = None
        self._stamps: dict[str, Version] = {}

    def look_over(self) -> str:
        """Ask the machines of the cluster."""
        return self._cluster.look_over()

    def open(self, project: Project, options: RunSettings, *, dry: bool) -> None:
        """Make the project's data travel through the remote."""
        self._data = project.use_remote(
            options, dry=dry, tell=lambda text: self._listen(Notice(text=text)), reach=self._reach
        )

    def results(self, work: Path, tree: str, *, in_workspace: bool) -> ResultStore:
        """Results are kept in the remote, signed; a note on disk tells the next run to look there."""
        return self._results(work, tree, left_in_remote(work, in_workspace=in_workspace))

    @contextlib.contextmanager
    def dead_results(self, work: Path, tree: str) -> Iterator[Sequence[ResultStore]]:
        """Results on this machine's disk, and those in the remote if a note says so and no other process takes them."""
        with results_in_remote(work) as signing_key:
            remote = [] if signing_key is None else [self._results(work, tree, signing_key)]
            yield [LocalResults(work), *remote]

    def _results(self, work: Path, tree: str, signing_key: str) -> RemoteResults:
        return RemoteResults(
            lambda: self._opened().store,
            work.parent.name,
            signing_key,
            work=work,
            tree=tree,
            open_quickly=self._opened().open_quickly,
            warn=lambda text: self._listen(Notice(text=text, level="warning")),
            cleared=lambda: nothing_in_remote(work),
        )

    def _opened(self) -> DataInRemote:
        if self._data is None:
            raise RuntimeError("the project's data has not been opened")
        return self._data

    def fetch(self, key: str, path: str) -> None:
        """Download the file from the remote."""
        download(self._opened().store, [Item(key=key, path=path)])

    def bundles(self, task: StageTask) -> tuple[FileBundle, ...]:
        """The snapshot and Git's state, packed once per run; per attempt what has changed since or is in no remote."""
        assert isinstance(task.data, RemoteData)  # noqa: S101  the project's data has made it
        if self._snapshot is None:
            self._snapshot = replace(pack(task.tree, task.code), lasting=True)
            self._stamps = dict(stamps_of_bundle(self._snapshot))
        changed = [path for path in task.code if self._has_changed(task.tree, path)]
        return (
            self._snapshot,
            *self._of_git(task.git),
            pack(task.tree, [*changed, *task.data.ships], whole=task.links),
        )

    def _of_git(self, git: GitTemplates) -> tuple[FileBundle, ...]:
        folders = [folder for _, folder in git.places if folder]
        if not folders:
            return ()
        if self._git is None:  # all stages of a run that get Git state get the same
            self._git = replace(pack(os.path.dirname(folders[0]), map(os.path.basename, folders)), lasting=True)
        return (self._git,)

    def _has_changed(self, tree: str, path: str) -> bool:
        try:
            found = os.lstat(os.path.join(tree, path))
        except FileNotFoundError:
            return False
        return self._stamps.get(path) not in {Stamp.of(found).version, (0, found.st_size)}  # links have no time there

    def keep_output(self, task: StageTask, text: str) -> None:
        """Append it to the log; if there is no space for it here, the remote has the complete log."""
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(task.log), exist_ok=True)
            with open(task.log, "a", encoding="utf-8") as log:
                log.write(text)

    def put_right(self, task: StageTask) -> None:
        """Nothing to do: that machine has no files of the user."""

    def begin_retention(self, living: Collection[str]) -> Callable[[], str]:
        """Begin to remove those in the remote."""
        return Retention(self._opened().store, living).end

    def close(self) -> None:
        """Remove the marks in shared folders."""
        self._held.close()
