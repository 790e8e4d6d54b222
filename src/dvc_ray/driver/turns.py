"""Which stages read what others write without declaring it: each must see what a serial run would have shown it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

from dvc_ray.driver.state import RunState, Stage
from dvc_ray.paths import with_folders
from dvc_ray.values.task import Lost, StageResult


class Turns:
    """Finds stages that were given too old a version of a file, or would be given too new a one.

    Stages that run at the same time must leave the workspace as if they had run one after the other, in plan order. So
    what a stage has written and others read is installed only when all earlier stages have ended, and later stages that
    have read the previous version are decided again.

    Args:
        table: The stages.
        concerns: Called once: what each reads and makes, relative to the tree.
    """

    def __init__(self, table: RunState, concerns: Callable[[], Mapping[str, Iterable[str]]]) -> None:
        self._table = table
        self._concerns = concerns
        self._written: dict[str, tuple[int, str]] = {}
        """By path: the number of the write that wrote it last, counted in the run, and the stage that did."""
        self._begun: dict[str, int] = {}
        """By stage: how many writes there had been when it was given its input."""
        self._writes = 0
        self._held: dict[str, tuple[StageResult | Lost, set[str]]] = {}
        """By waiting stage: how its attempt has ended, and which stages that concerns."""

    @cached_property
    def _concerned(self) -> dict[str, set[str]]:
        """Addresses by path; made on first use, as most runs do not need it."""
        found: dict[str, set[str]] = {}
        for address, paths in self._concerns().items():
            for path in paths:
                found.setdefault(path, set()).add(address)
        return found

    def begin(self, stage: Stage) -> None:
        """Note that a stage is given its input."""
        self._begun[stage.address] = self._writes

    def waits_for(self, stage: Stage, end: StageResult | Lost) -> str:
        """Name a stage that must end before what an attempt has written may be installed; empty if none."""
        held = self._held.pop(stage.address, None)
        concerned = held[1] if held is not None and held[0] is end else self._concerned_by(written(end))
        first = self._table.first_open(stage) if any(self._table.around(stage, concerned)) else ""
        if first:
            self._held[stage.address] = (end, concerned)
        return first

    def comes_early(self, stage: Stage, end: StageResult | Lost) -> bool:
        """Whether what an attempt has written would be installed too early, if no other stage ran any more."""
        if self.is_overtaken(stage, end):
            return True
        return not self._table.is_next(stage) and any(self._table.around(stage, self._concerned_by(written(end))))

    def is_overtaken(self, stage: Stage, end: StageResult | Lost) -> bool:
        """Whether another stage has meanwhile written a file that this one wrote too, perhaps after reading it."""
        begun = self._begun.get(stage.address, self._writes)
        later = [path for path in written(end) if self._written.get(path, (0, ""))[0] > begun]
        others = [path for path in later if self._written[path][1] != stage.address]
        return not stage.last and any(self._table.around(stage, self._concerned_by(others)))

    def note(self, stage: Stage, paths: Sequence[str]) -> list[Stage]:
        """Note what a stage has written; it is installed by now.

        Returns:
            The later stages that read or make these paths, in plan order.
        """
        self._writes += 1
        self._written |= dict.fromkeys(paths, (self._writes, stage.address))
        return self._table.around(stage, self._concerned_by(paths))[1]

    def _concerned_by(self, paths: Iterable[str]) -> set[str]:
        """The stages that read or make some paths, or folders that contain them."""
        tops = with_folders(path for path in paths if "__pycache__" not in path)
        if not tops:
            return set()
        return set().union(*(self._concerned[top] for top in (tops | {"."}) & self._concerned.keys()))


def written(end: StageResult | Lost) -> tuple[str, ...]:
    """What an attempt has written beyond its outs; relative to the tree."""
    if isinstance(end, Lost):
        return ()
    return (*(changed.path for changed in end.changed), *end.deleted, *end.created)


def told(writer: Stage, lost: Sequence[Stage], paths: Sequence[str]) -> str:
    """Say that stages which had begun too early run again."""
    named = ", ".join(f"'{path}'" for path in paths[:3]) + (" and more" if len(paths) > 3 else "")
    again = ", ".join(f"'{stage.address}'" for stage in lost[:3]) + (f" and {len(lost) - 3} more" if lost[3:] else "")
    return (
        f"stage '{writer.address}' wrote {named} without declaring it, and stages after it had begun on the version"
        f" before: {again}. They have their turn again, as after it under dvc repro. Declare it as an out of"
        f" '{writer.address}' (`cache: false` leaves it to Git), so that they wait."
    )
