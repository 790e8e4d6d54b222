"""An experiment: run outside of the workspace, saved as a commit, then applied if the workspace has not changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import DvcRayError, ProjectError
from dvc_ray.experiments.mirror import TreeMirror, stamps_of
from dvc_ray.files import Version
from dvc_ray.paths import RunPaths, is_under, runs_dir
from dvc_ray.repo import Project
from dvc_ray.repo.experiments.directory import ExperimentDir, open_experiment
from dvc_ray.runs import directory
from dvc_ray.values.report import Notice, RunResult, Saved
from dvc_ray.values.run import Experiment, Selection
from dvc_ray.values.stage import Plan, StageState

Tell = Callable[[Notice], None]
_FROM_FILES: Final = {"pip", "uv", "conda"}
"""Keys of a runtime_env that may name a requirements file."""
_RAN: Final = {StageState.DONE, StageState.CACHED}
_WAITING: Final = Notice(text="Waiting for another DVC command in this project to end.")


class ExperimentRun:
    """An experiment under way; what `begin` yields.

    Args:
        lab: The directory that it runs in.
        twin: Brings files from the workspace to its directory and back; None: ``--temp``.
        seen: State of the workspace when DVC stashed it.
        tell: Called with notices for the user.
    """

    def __init__(self, lab: ExperimentDir, twin: TreeMirror | None, seen: object, tell: Tell) -> None:
        self._lab = lab
        self._twin = twin
        self._tell = tell
        self._seen = seen
        self._outs: tuple[str, ...] = ()
        self._stamps: tuple[tuple[str, Version], ...] = ()

    @property
    def project(self) -> Project:
        """The experiment's copy of the project."""
        return self._lab.project

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for the commands of an experiment."""
        return self._lab.environ

    def fill(self) -> None:
        """Give the experiment its data, and all other files that a run in the workspace would see."""
        home = self._lab.home
        if self._twin is not None:
            self._outs = self._lab.project.outs()
            with home.locked(waiting=lambda: self._tell(_WAITING)):  # nobody may stash the workspace meanwhile
                self._stamps = stamps_of(home.tree, self._outs)
                self._twin.fill(home.code(), self._lab.project.inputs())
            self._lab.take_over(self._twin.linked)
        self._lab.checkout()

    def save(self, result: RunResult, chosen: Plan, taken: Sequence[str]) -> Saved:
        """Commit the experiment, and apply it to the workspace unless that has changed meanwhile.

        Args:
            result: The results of its stages.
            chosen: Its plan.
            taken: Stages that had run before, in an experiment that did not end.

        Raises:
            ProjectError: The experiment cannot be committed.
        """
        states = {report.address: report.state for report in result.reports}
        fine = [address for address, state in states.items() if state.is_success]
        ran = [address for address in fine if states[address] in _RAN or address in taken]
        rev = self._lab.save(fine, ran, environment(chosen))
        why = self._bring(fine, ran, result.run_id)
        self._push()
        if lost := self._lost():
            self._tell(Notice(text=f"Not in the experiment, gone with its directory: {', '.join(lost)}"))
        return Saved(name=self._lab.name, rev=rev, applied=not why, why=why, temporary=self._twin is None)

    def _bring(self, fine: list[str], ran: list[str], run_id: str) -> str:
        """Apply the results to the workspace; return the reason if they cannot be applied."""
        home = self._lab.home
        if self._twin is None:
            return "--temp"
        with home.locked(waiting=lambda: self._tell(_WAITING)):
            if look(home) != self._seen or self._others_wrote(self._twin):
                return "the workspace has changed meanwhile"
            if other := directory.busy(home.dvc_dir):
                return f"another dvc-ray run, {other.name}, works in the workspace"
            try:
                self._apply(self._twin, fine, ran, RunPaths(runs_dir(home.dvc_dir) / run_id).kept_of_experiment)
            except (OSError, ProjectError) as error:
                return f"its results cannot all be brought into the workspace: {error}"
        return ""

    def _others_wrote(self, twin: TreeMirror) -> bool:
        """Whether data in the workspace has changed, except by stages that wrote to their own deps.

        Such a dep is the same file in both trees, by a hard link; ``dvc exp run`` would have left it changed, too.
        """
        before, now = dict(self._stamps), dict(stamps_of(self._lab.home.tree, self._outs))
        changed = {path for path in {*before, *now} if before.get(path) != now.get(path)}
        return not all(twin.shares(path) for path in changed)

    def _push(self) -> None:
        """Push the experiment, if the project is configured for that; it is saved in any case."""
        if remote := self._lab.push_to():
            self._tell(Notice(text=f"Pushing experiment to '{remote}'."))
            try:
                self._lab.push(remote)
            except ProjectError as error:
                text = f"the experiment could not be pushed to '{remote}': {error.what}"
                self._tell(
                    Notice(text=f"{text}\nPush it with: dvc exp push {remote} {self._lab.name}", level="warning")
                )

    def _lost(self) -> tuple[str, ...]:
        """List the undeclared files that the experiment made, which are removed with its directory (``--temp``).

        Files that DVC itself writes there, and leaves out of the commit, do not count.
        """
        if self._twin is not None:
            return ()
        own = set(self._lab.project.ignore_files())
        return tuple(path for path in self._lab.untracked() if path not in own)

    def _apply(self, twin: TreeMirror, fine: list[str], ran: list[str], kept: str) -> None:
        """Leave the workspace as ``dvc exp run`` would, which runs in it."""
        outs = self._lab.project.outs(fine)
        new = {*self._lab.project.outs(ran), *(path for path in outs if twin.misses(path))}
        # First, because what the other steps move away would look removed.
        for path in twin.bring(self._lab.leftovers(), self._outs, kept):
            text = (
                f"the experiment wrote '{path}', which Git ignores and no out declares; yours is left as it was,"
                f" the new one is {os.path.relpath(os.path.join(kept, path), self._lab.home.tree)}."
            )
            self._tell(Notice(text=text, level="warning"))
        twin.drop(sorted(self._lab.project.outs(ran)))
        twin.sync(path for path in self._lab.rewritten() if not is_under(path, new))  # `move` takes those as a whole
        twin.move(sorted(new))
        self._lab.hand_over(sorted(new))


def _refused(path: str) -> Notice:
    why = "leads out of the project, or to what is Git's or DVC's"
    return Notice(text=f"the experiment wrote {path!r}, which {why}: it is not brought home.", level="warning")


def environment(chosen: Plan) -> str:
    """Return a digest of the `runtime_env` of all stages as a line of a commit message; empty if no stage has one.

    Files that a `runtime_env` names (requirements.txt) count with their present content.
    """
    found = {step.spec.address: step.spec.settings.runtime_env for step in chosen.steps}
    told = {address: _with_files(each) for address, each in found.items() if each}
    text = json.dumps(told, sort_keys=True, default=str)
    return f"Dvc-Ray-Runtime-Env: sha256:{hashlib.sha256(text.encode()).hexdigest()}" if told else ""


def _with_files(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: Path(value) for key, value in runtime_env.items() if key in _FROM_FILES and isinstance(value, str)}
    return {**runtime_env, **{key: path.read_text() for key, path in named.items() if path.is_file()}}


def look(home: Project) -> object:
    """Return the state of the workspace without ignored files; it differs when somebody has worked there."""
    state, untracked = home.worktree()
    return state, stamps_of(home.tree, untracked)


@contextlib.contextmanager
def begin(
    home: Project, experiment: Experiment, selection: Selection, *, force: bool, tell: Tell = lambda _notice: None
) -> Iterator[ExperimentRun]:
    """Set up an experiment in a directory of its own, which becomes the working directory of this process.

    Raises:
        DvcRayError: It cannot be set up; see `dvc_ray.repo.experiments.directory.open_experiment`.
        ProjectError: Another run is working in the workspace, which DVC has to stash and restore.
    """
    seen: list[object] = []
    tree = home.tree

    def stashed() -> None:
        seen.append(look(home))

    directory.refuse_second(home.dvc_dir)
    with open_experiment(
        home, experiment, selection, force=force, stashed=stashed, waiting=lambda: tell(_WAITING)
    ) as lab:
        trees = os.path.realpath(tree), os.path.realpath(lab.tree)
        twin = None if experiment.temp else TreeMirror(*trees, refuse=lambda path: tell(_refused(path)))
        try:
            yield ExperimentRun(lab, twin, seen[0], tell)
        except DvcRayError as error:  # name the user's files, not the experiment's
            texts = (text.replace(lab.tree, tree) for text in (error.what, error.hint))
            raise type(error)(*texts) from error.__cause__ or error
