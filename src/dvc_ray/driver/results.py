"""Taking what attempts left into the user's workspace and dvc.lock."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from dvc_ray.errors import StorageError
from dvc_ray.repo import Merge, Project
from dvc_ray.values.report import Notice
from dvc_ray.values.task import StageResult, StageTask
from dvc_ray.workspace import Home, unpack

_Stamp = tuple[int, int, int]


class Results:
    """Takes results home, for one run.

    Args:
        project: The user's project.
        listen: Told what the user should know.
    """

    def __init__(self, project: Project, listen: Callable[[Notice], None]) -> None:
        self._project = project
        self._listen = listen
        self._home = Home(project.place, lambda text: listen(Notice(text=text, level="warning")))
        self._given: dict[str, Mapping[str, _Stamp]] = {}
        """Deps that are files, by stage and path, as an attempt was given them."""

    def given(self, task: StageTask) -> None:
        """Note what an attempt is given: the user may edit a dep while it runs."""
        self._given[task.address] = dict(_stamps(task))

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold DVC's lock; finished work is not given up because another command holds it for a while."""
        return self._project.locked(
            waiting=lambda: self._listen(Notice(text="Waiting for another DVC command in this project to end."))
        )

    def merge(self, done: Iterable[tuple[StageTask, StageResult]]) -> dict[str, str]:
        """Bring finished attempts home and into dvc.lock, in plan order.

        Returns:
            For the address of each: why it could not be, or nothing.
        """
        ends: dict[str, str] = {}
        merges = []
        with self.locked():
            for task, result in sorted(done, key=lambda pair: self._project.place(pair[0].address)):
                assert result.entry is not None  # noqa: S101
                self._tell_edited(task, result)
                try:
                    self._bring(task, result)
                except (OSError, StorageError) as error:
                    ends[task.address] = f"its files cannot be brought home: {error}"
                    continue
                self._project.add_code(result.created)
                merges.append(Merge(task=task, entry=result.entry))
                ends[task.address] = ""
            self._project.merge(merges)
        for merge in merges:
            if why := self._project.bring_outs(merge.task):
                self._listen(Notice(text=f"stage '{merge.task.address}' is done, but {why}", level="warning"))
        return ends

    def leave_partial(self, task: StageTask, result: StageResult) -> None:
        """Leave what a failed command wrote where a command run in the workspace would have left it."""
        try:
            with self.locked():
                self._bring(task, result)
        except (OSError, StorageError) as error:
            text = f"what stage '{result.address}' wrote before it failed cannot be brought home: {error}"
            self._listen(Notice(text=text, level="warning"))

    def _tell_edited(self, task: StageTask, result: StageResult) -> None:
        """Name deps that somebody has edited since: the command has not seen that, and dvc.lock does not say it has.

        Only files: a look at all that is in a directory would cost more than it is worth.
        """
        before, now = self._given.pop(task.address, {}), dict(_stamps(task))
        own = {changed.path for changed in result.changed}
        if edited := [path for path, known in before.items() if now.get(path) != known and path not in own]:
            named = ", ".join(f"'{path}'" for path in edited[:3]) + (" and more" if len(edited) > 3 else "")
            text = f"{named} changed while stage '{task.address}' ran. dvc.lock names the version that it was given;"
            self._listen(Notice(text=f"{text} the next run takes the new one.", level="warning"))

    def _bring(self, task: StageTask, result: StageResult) -> None:
        if result.parcel is not None:  # from a machine that shares no disk: as if its workspace was here
            unpack(result.parcel, task.workspace, bring=self._project.bring_object)
        self._home.bring(task, result)


def _stamps(task: StageTask) -> Iterator[tuple[str, _Stamp]]:
    """Inode, modification time (ns) and size of each dep that is a file."""
    for path in task.deps:
        with contextlib.suppress(OSError):
            found = os.stat(os.path.join(task.tree, path))
            if stat.S_ISREG(found.st_mode):
                yield path, (found.st_ino, found.st_mtime_ns, found.st_size)
