"""An experiment: run apart from the workspace, saved as a commit, then applied if nobody has worked there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

from dvc_ray.repo import Lab, Project, open_lab
from dvc_ray.values import Experiment, RunResult, Saved, Selection, StageState
from dvc_ray.workspace import Twin

_RAN = {StageState.DONE, StageState.CACHED}


class Trial:
    """An experiment on its way; what `begin` yields.

    Args:
        lab: Where it runs.
        twin: Keeps the files of its directory and those of the workspace together; None: ``--temp``.
    """

    def __init__(self, lab: Lab, twin: Twin | None) -> None:
        self._lab = lab
        self._twin = twin
        self._outs: tuple[str, ...] = ()
        self._before: object = None

    @property
    def project(self) -> Project:
        """The experiment's copy of the project."""
        return self._lab.project

    @property
    def environ(self) -> Mapping[str, str]:
        """What the commands of an experiment find in their environment."""
        return self._lab.environ

    def fill(self) -> None:
        """Give the experiment the data, and all the files that a run in the workspace would see."""
        if self._twin is not None:
            self._twin.fill(self._lab.home.code(), self._lab.project.inputs())
            self._lab.take_over(self._twin.linked)
            self._outs = self._lab.project.outs()
        self._lab.checkout()
        self._before = self._stamp()

    def save(self, result: RunResult, waiting: Callable[[], None]) -> Saved:
        """Commit the experiment; bring it into the workspace unless that has changed meanwhile.

        Raises:
            ProjectError: It cannot be committed.
        """
        states = {report.address: report.state for report in result.reports}
        fine = [address for address, state in states.items() if state.is_success]
        ran = [address for address in fine if states[address] in _RAN]
        rev = self._lab.save(fine, ran)
        if self._twin is None:
            return Saved(name=self._lab.name, rev=rev, applied=False, why="--temp")
        with self._lab.home.locked(waiting=waiting):
            if self._stamp() != self._before:
                return Saved(name=self._lab.name, rev=rev, applied=False, why="the workspace has changed meanwhile")
            self._apply(self._twin, fine, ran)
        return Saved(name=self._lab.name, rev=rev, applied=True)

    def lost(self) -> tuple[str, ...]:
        """Files that the experiment made and nobody declares, which go with its directory (``--temp``)."""
        return () if self._twin is not None else self._lab.untracked()

    def _apply(self, twin: Twin, fine: list[str], ran: list[str]) -> None:
        """Leave the workspace as ``dvc exp run`` does, which runs there."""
        outs = self._lab.project.outs(fine)
        new = {*self._lab.project.outs(ran), *(path for path in outs if twin.misses(path))}
        twin.bring(self._lab.leftovers(), outs)  # first: what the others move away would look removed
        twin.sync(self._lab.rewritten())
        twin.move(sorted(new))
        self._lab.hand_over(sorted(new))

    def _stamp(self) -> object:
        """Changes when anybody changes the workspace."""
        if self._twin is None:
            return None
        head = self._lab.head()
        changed = (entry[3:] for entry in head.split("\0")[1:])
        return head, self._twin.stamps((*changed, *self._outs))


@contextlib.contextmanager
def begin(home: Project, experiment: Experiment, selection: Selection, *, force: bool) -> Iterator[Trial]:
    """Set an experiment up in a directory of its own, in which the process then works.

    Raises:
        DvcRayError: It cannot be; see `dvc_ray.repo.open_lab`.
    """
    with open_lab(home, experiment, selection, force=force) as lab:
        twin = None if experiment.temp else Twin(os.path.realpath(home.tree), os.path.realpath(lab.tree))
        yield Trial(lab, twin)
