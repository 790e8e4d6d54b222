"""Merging what attempts made into the user's workspace and dvc.lock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from dvc_ray.driver.input_edits import InputEdits
from dvc_ray.errors import ProjectError, StorageError
from dvc_ray.repo import Merge, Project
from dvc_ray.values.report import Notice
from dvc_ray.values.task import StageResult, StageTask
from dvc_ray.workspace import ResultInstaller, Undo


@dataclass(frozen=True, slots=True)
class NotMerged:
    """Why a finished attempt is not in dvc.lock."""

    why: str
    keep: bool
    """Whether the next run may take the result over, because nothing is wrong with it."""


class ResultMerger:
    """Merges the results of one run into the user's workspace.

    Args:
        project: The user's project.
        listen: Receives notices for the user.
        may_run_again: Whether the stage of an address may have begun too early.
        fetch: Downloads a file that was too large to travel with its result: key and path.
    """

    def __init__(
        self,
        project: Project,
        listen: Callable[[Notice], None],
        may_run_again: Callable[[str], bool],
        fetch: Callable[[str, str], None],
    ) -> None:
        self._project = project
        self._may_run_again = may_run_again
        self._undo = Undo()
        self._wrote: dict[str, list[str]] = {}
        self._listen = listen
        self._home = ResultInstaller(
            project.stages.place,
            lambda text: listen(Notice(text=text, level="warning")),
            project.is_dep,
            fetch,
        )
        self._edits = InputEdits()
        self._outdated: dict[str, list[str]] = {}
        """By dep: stages that were given another version of it than the one that dvc.lock names."""

    def given(self, task: StageTask) -> None:
        """Record what an attempt is given, because the user may edit a dep while it runs."""
        self._edits.given(task)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold DVC's lock, waiting while another command holds it, so that finished work is not lost."""
        return self._project.locked(
            waiting=lambda: self._listen(Notice(text="Waiting for another DVC command in this project to end."))
        )

    def merge(self, done: Iterable[tuple[StageTask, StageResult]]) -> dict[str, NotMerged]:
        """Bring finished attempts into the workspace and dvc.lock, in plan order.

        Returns:
            The attempts that could not be merged, by address.
        """
        ends: dict[str, NotMerged] = {}
        merges = []
        with self.locked():
            for task, result in sorted(done, key=lambda pair: self._project.stages.place(pair[0].address)):
                assert result.entry is not None  # noqa: S101
                edited = self._edits.of(task, result)
                try:
                    let_in = self._bring(task, result)
                except (OSError, StorageError) as error:
                    ends[task.address] = NotMerged(f"its files cannot be brought home: {error}", keep=True)
                    continue
                self._project.add_code(let_in.created)
                merges.append(
                    Merge(
                        task=task,
                        entry=result.entry,
                        hashes=let_in.hashes,
                        edited=edited,
                        git_added=let_in.git_added,
                    )
                )
            found = self._take_into_lock(merges, ends)
        for address, deps in found.items():
            self._tell_edited(address, deps)
        for merge in merges:
            if merge.task.address not in ends and (why := self._project.stages.bring_outs(merge.task)):
                self._listen(Notice(text=f"stage '{merge.task.address}' is done, but {why}", level="warning"))
        return ends

    def _take_into_lock(self, merges: Sequence[Merge], ends: dict[str, NotMerged]) -> dict[str, dict[str, bool]]:
        """Let DVC merge them; if it refuses one (its out is in Git by now, say), the others are merged."""
        try:
            return self._project.merge(merges)
        except ProjectError as error:
            if len(merges) == 1:
                ends[merges[0].task.address] = NotMerged(f"DVC does not take its result: {error.what}", keep=False)
                return {}
        found: dict[str, dict[str, bool]] = {}
        for merge in merges:
            found |= self._take_into_lock([merge], ends)
        return found

    def leave_partial(self, task: StageTask, result: StageResult) -> None:
        """Leave what a failed command wrote where a command run in the workspace would have left it.

        If no command was started, the workspace stays as it is: an earlier failure must not cost the user a file.
        """
        if result.exit_code is None:
            return
        try:
            with self.locked():
                self._bring(task, result)
        except (OSError, StorageError) as error:
            text = f"what stage '{result.address}' wrote before it failed cannot be brought home: {error}"
            self._listen(Notice(text=text, level="warning"))

    def wrote(self, address: str) -> list[str]:
        """Files beyond its outs that the last merge of a stage has changed in the workspace; returned once."""
        return self._wrote.pop(address, [])

    def take_back(self, stages: Iterable[tuple[str, float]]) -> None:
        """Undo what stages that will run again have left, except outs, which DVC removes anyway.

        Args:
            stages: Address of each, and when it began.
        """
        with self.locked():
            for address, begun in sorted(stages, key=lambda stage: self._project.stages.place(stage[0]), reverse=True):
                self._home.forget(address)
                try:
                    self._project.stages.forget_run(address, None, begun)
                    self._edits.wrote(self._undo.take_back(address))
                except OSError as error:
                    text = f"what stage '{address}' wrote too early cannot be taken back: {error}"
                    self._listen(Notice(text=text, level="warning"))

    def tell_edited(self) -> None:
        """At the end, report deps that changed while several stages ran; so far, only the first stage was named."""
        for dep, addresses in self._outdated.items():
            if len(addresses) > 1:
                text = f"'{dep}' changed while {len(addresses)} stages ran, which were given the version before. "
                self._listen(Notice(text=text + _new_named("them", addresses), level="warning"))

    def _tell_edited(self, address: str, deps: Mapping[str, bool]) -> None:
        for dep, taken in deps.items():
            text = f"'{dep}' changed while stage '{address}' ran, which was given the version before. "
            if taken:
                outdated = self._outdated.setdefault(dep, [])
                outdated.append(address)
                if len(outdated) > 1:  # many stages may have this dep, so all are named at the end
                    continue
                text += _new_named("it", [address])
            else:
                text += "dvc.lock names that one: the new one is not there, or cannot be read."
            self._listen(Notice(text=text, level="warning"))

    def _bring(self, task: StageTask, result: StageResult) -> StageResult:
        """Install what the gate admits of a result, and return that."""
        result = self._home.admit(task, result)
        with self._undo.watching(task, result, keep=self._may_run_again(task.address)) as wrote:
            self._home.bring(task, result)
        self._wrote[task.address] = wrote
        self._edits.brought(task, result)
        return result


def _new_named(what: str, addresses: Iterable[str]) -> str:
    command = f"dvc-ray repro -sf {' '.join(quote(address) for address in addresses)}"
    return f"dvc.lock names the new one, as with dvc repro. To run {what} again: {command}"
