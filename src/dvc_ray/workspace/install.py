"""Installing an attempt's files: the user's workspace is left as if the command had run in it."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Callable, Iterable, Iterator

from dvc_ray.files import walk_files
from dvc_ray.node.bundles import unpack
from dvc_ray.paths import is_under, remove
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import StageResult, StageTask
from dvc_ray.workspace.environments import is_environment
from dvc_ray.workspace.gate import LeadsOutError, beneath, passed
from dvc_ray.workspace.ignored_links import leads_to
from dvc_ray.workspace.materialise import CODE_LIST
from dvc_ray.workspace.moving import move
from dvc_ray.workspace.texts import TextMerger, is_plain
from dvc_ray.workspace.writers import Writers


class ResultInstaller:
    """The user's workspace during one run; the head is its only writer.

    Args:
        place: Place of a stage in the plan.
        warn: Receives warnings about conflicts.
        is_dep: Whether a stage of the project depends on a path, relative to the tree, or on a folder that it is in.
        fetch: Downloads the object of a key in the remote to a file.
    """

    def __init__(
        self,
        place: Callable[[str], int],
        warn: Callable[[str], None],
        is_dep: Callable[[str], bool],
        fetch: Callable[[str, str], None],
    ) -> None:
        self._fetch = fetch
        self._place = place
        self._warn = warn
        self._is_dep = is_dep
        self._writers = Writers(place, warn)
        self._texts = TextMerger(self._writers)
        self._folders: dict[str, str] = {}
        """By folder that was installed as a whole: the stage of this run that made it."""

    def admit(self, task: StageTask, result: StageResult) -> StageResult:
        """Admit what a stage may write; files that another machine has returned are unpacked into the workspace.

        Args:
            task: The attempt.
            result: Its result.

        Returns:
            The result, without what may not be installed; the user is warned about that.

        Raises:
            OSError: A file cannot be written.
            StorageError: An object cannot be downloaded.
        """
        result, refused = passed(task, result)
        for path in refused:
            self._warn(f"stage '{task.address}' wrote {path!r}, which no stage may write: it is not brought home.")
        if result.returned_files is not None:
            unpack(result.returned_files, task.workspace, bring=self._fetch)
        return result

    @contextlib.contextmanager
    def _told(self, task: StageTask) -> Iterator[None]:
        """Warn of what is not installed because it would land elsewhere; the rest is installed."""
        try:
            yield
        except LeadsOutError as error:
            self._warn(f"stage '{task.address}': {error.args[0]}: it is not brought home.")

    def bring(self, task: StageTask, result: StageResult) -> None:
        """Install all that an attempt has left: deletions, outs, new and changed files.

        Outs are moved, not copied: DVC's hash of a file holds as long as its inode is the same.

        Raises:
            OSError: A file cannot be written.
        """
        if result.state is StageState.DONE:
            self._warn_of_changed_deps(task, result)
        self._bring_deleted(task, result)  # first: a file may have become a directory
        for path in task.outs:
            with self._told(task):
                _bring_out(task, result, path)
        for path in result.copied:
            self._warn(
                f"stage '{task.address}' copied '{path}', which is a link in its workspace, and wrote to it or to its"
                f" copy: both have it. Copy what is in it ('cp -r {path}/. …'), or name it in 'include' of 'meta.ray'."
            )
        for path, place in result.moved:
            with self._told(task):
                self._move_at_home(task, path, place)
        for path in result.replaced:
            with self._told(task), beneath(task.home, path, make=True) as target:
                self._bring_replaced(task, path, result.workspace, target)
        folders = set(self._bring_folders(task, result))
        for path in result.created:
            if is_under(path, folders):
                self._writers.note(path, task.address)
                continue
            with self._told(task), beneath(task.tree, path, make=True) as target:
                if not self._texts.bring_new_dvcyaml(task, result, path, target):
                    self._bring_created(task, path, result.workspace, target)
        for changed in result.changed:
            with self._told(task), beneath(task.tree, changed.path, make=True) as target:
                self._texts.bring_changed(task, result, changed, target)

    def _bring_deleted(self, task: StageTask, result: StageResult) -> None:
        for path in result.deleted:
            with contextlib.suppress(OSError), self._told(task), beneath(task.tree, path) as target:
                os.unlink(target)
                _remove_emptied(os.path.dirname(path), result.workspace, task.tree)

    def forget(self, address: str) -> None:
        """Forget all that a stage has written, because it has been taken back."""
        self._writers.forget(address)

    def _warn_of_changed_deps(self, task: StageTask, result: StageResult) -> None:
        """Name deps that the command has changed; dvc.lock has their new hashes, as under ``dvc repro``."""
        touched = (*(changed.path for changed in result.changed), *result.deleted, *result.created)
        deps = set(task.deps)
        found = [path for path in touched if is_under(path, deps) and "__pycache__" not in path]
        if found:
            named = ", ".join(f"'{path}'" for path in found[:3]) + (" and more" if len(found) > 3 else "")
            self._warn(
                f"stage '{task.address}' wrote to its own dep: {named}. As with dvc repro, dvc.lock records"
                " it as it is now; the stage may run again next time. Let the command write to an out instead."
            )

    def _bring_folders(self, task: StageTask, result: StageResult) -> Iterator[str]:
        """Install new folders as a whole: an environment has thousands of files that belong together."""
        created = set(result.created)
        for path in _tops(result.created, task.tree, task.outs):
            if created.issuperset(walk_files(result.workspace, path)):
                with contextlib.suppress(OSError), beneath(task.tree, path, make=True) as target:
                    if self._bring_folder(task, path, os.path.join(result.workspace, path), target):
                        yield path

    def _bring_folder(self, task: StageTask, path: str, source: str, target: str) -> bool:
        if not os.path.lexists(target):
            os.rename(source, target)  # fails across file systems: then file by file
        elif is_environment(source) and path in self._folders:
            if self._place(task.address) < self._place(self._folders[path]):
                return True
            move(source, target)
        else:
            return False
        self._folders[path] = task.address
        return True

    def _bring_created(self, task: StageTask, path: str, workspace: str, target: str) -> None:
        """Install a new file. A file that is already there was not given to the stage, and is not replaced.

        An exception: a file that another stage reads must be what it would be after a serial run.
        """
        source = os.path.join(workspace, path)
        other = self._writers.of(path)
        if os.path.lexists(target) and "__pycache__" not in path and not _same_content(source, target):
            if other is None and not self._is_dep(path):
                self._keep_both(task, path, source)
                return
            if other not in {None, task.address} and not self._writers.is_later(task.address, path, other):
                return
        move(source, target)
        self._writers.note(path, task.address)

    def _move_at_home(self, task: StageTask, path: str, place: str) -> None:
        """Move the user's Git-ignored folder to where the command has moved the link to it."""
        if not os.path.lexists(os.path.join(task.home, path)):  # moved already, by the run whose result is taken over
            return
        if place:
            with beneath(task.home, path) as source, beneath(task.home, place, make=True) as target:
                if leads_to(task.home, target) == path:  # through another link
                    os.unlink(target)
                if not os.path.lexists(target):
                    move(source, target)
                    return
        self._warn(
            f"stage '{task.address}' moved '{path}', which Git ignores,"
            f" {f'to {place!r}, where you have something' if place else 'out of the project'}: only a link to it was"
            " moved. Yours is left as it was. Declare it as an out, or name it in 'include' of 'meta.ray' to have the"
            " stage work on it."
        )

    def _bring_replaced(self, task: StageTask, path: str, workspace: str, target: str) -> None:
        """Do to the user's Git-ignored file or folder what the command did to the link to it."""
        other = self._writers.of(path)
        if other is not None and self._place(other) > self._place(task.address):
            self._writers.is_later(task.address, path, other)
            return
        source = os.path.join(workspace, path)
        if os.path.lexists(source):
            move(source, target)
        elif os.path.lexists(os.path.join(workspace, task.project, CODE_LIST)):  # else the workspace is being removed
            remove(target)
        self._writers.note(path, task.address)

    def _keep_both(self, task: StageTask, path: str, source: str) -> None:
        aside = os.path.join(task.kept, path)
        move(source, aside)
        self._warn(
            f"stage '{task.address}' wrote '{path}', which Git ignores and no out declares; yours is left as it was,"
            f" the new one is {os.path.relpath(aside)}. Declare it as an out, or name it in 'include' of 'meta.ray' to"
            " have the stage work on it."
        )


def _bring_out(task: StageTask, result: StageResult, path: str) -> None:
    source, home = os.path.join(result.workspace, path), os.path.join(task.tree, path)
    there = os.path.lexists(source)
    if there and os.path.realpath(source) == os.path.realpath(home):  # through a link that leads out of both
        return
    if there or path in result.stale:
        with beneath(task.tree, path, make=there) as target:
            move(source, target) if there else remove(target)


def _tops(created: Iterable[str], tree: str, outs: Iterable[str]) -> Iterator[str]:
    """The topmost folders of new files that are new themselves or environments, and that contain no out.

    Args:
        created: New files, relative to the tree.
        tree: Root of the user's tree.
        outs: Outs of the stage, relative to the tree.
    """
    found: set[str] = set()
    around = {folder for path in outs for folder in _parents(path)}
    for path in created:
        if not is_under(path, found):
            for folder in reversed(_parents(path)):
                full = os.path.join(tree, folder)
                if folder not in around and (not os.path.lexists(full) or is_environment(full)):
                    found.add(folder)
                    yield folder
                    break


def _parents(path: str) -> list[str]:
    """The folders that contain a relative path, the innermost first."""
    found = []
    while path := os.path.dirname(path):
        found.append(path)
    return found


def _remove_emptied(folder: str, workspace: str, tree: str) -> None:
    """Remove folders that the command has removed, once nothing is left in them."""
    while folder and not os.path.isdir(os.path.join(workspace, folder)):
        os.rmdir(os.path.join(tree, folder))
        folder = os.path.dirname(folder)


def _same_content(one: str, other: str) -> bool:
    return is_plain(one) and is_plain(other) and filecmp.cmp(one, other, shallow=False)
