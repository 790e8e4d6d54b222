"""The state of each stage of a run, and which stages may go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dvc_ray import retry
from dvc_ray.driver.admission import Claim
from dvc_ray.driver.ready_queue import ReadyQueue
from dvc_ray.values.report import StageReport
from dvc_ray.values.run import OnError
from dvc_ray.values.stage import Action, Plan, StageState, Step
from dvc_ray.values.task import Lost, StageResult, StageTask


@dataclass(slots=True)
class Stage:
    """A stage during a run; all that changes about it is kept here."""

    step: Step
    report: StageReport
    claim: Claim
    """What the attempt in flight takes, or else the next one."""
    tries: retry.Tries = field(default_factory=retry.Tries)
    attempts: int = 0
    task: StageTask | None = None
    """Task of its attempt in flight."""
    not_before: float = 0.0
    """When it may be tried again (`time.monotonic`)."""
    again: bool = False
    """Whether it must be decided again, whatever the plan says."""
    last: bool = False
    """Whether all earlier stages must end first, because it has once begun too early."""
    stale: str = ""
    """Why the result of its attempt in flight is useless: its input was too old. Empty if it is not."""
    held: StageResult | Lost | None = None
    """How its attempt has ended, while what it wrote must not yet be installed."""
    begun: float = 0.0
    """When its last attempt was handed over (`time.time`)."""
    ran: StageReport | None = None
    """Its last report before it was reopened."""

    @classmethod
    def of(cls, step: Step) -> Stage:
        """A stage at the beginning of a run."""
        state = StageState.UNCHANGED if step.action is Action.SKIP else StageState.WAITING
        report = StageReport(address=step.spec.address, state=state, reason=", ".join(step.reasons))
        return cls(step, report, Claim.of(step.spec.group, step.spec.settings))

    @property
    def address(self) -> str:
        """As DVC shows it."""
        return self.step.spec.address

    @property
    def state(self) -> StageState:
        """Its state."""
        return self.report.state

    def count(self, end: StageResult | Lost, delay: float) -> None:
        """Note that an attempt has failed, and how many seconds later the next may start."""
        self.tries = retry.count(end, self.tries)
        self.claim = Claim.of(self.step.spec.group, retry.grown(self.step.spec.settings, self.tries))
        self.not_before = time.monotonic() + delay


class RunState:
    """The stages of a run.

    Args:
        chosen: The plan.
        on_error: What the failure of a stage means for the others.
        listen: Receives the report of each stage, now and when it changes.
    """

    def __init__(self, chosen: Plan, on_error: OnError, listen: Callable[[StageReport], None]) -> None:
        self._on_error = on_error
        self._listen = listen
        self._stages = {step.spec.address: Stage.of(step) for step in chosen.steps}
        self._place = {address: place for place, address in enumerate(self._stages)}
        self._board = self._make_board()
        self._flying: dict[str, Stage] = {}
        self._failed: set[int] = set()
        """Places in the plan of the stages that failed."""
        self._lost: set[str] = set()
        """Addresses of failed stages whose command has not ended: their outs are still those of the last run."""
        self._stale = True
        for stage in self:
            listen(stage.report)

    def _make_board(self) -> ReadyQueue:
        return ReadyQueue(
            {name: stage.step.spec.upstream for name, stage in self._stages.items()},
            {name: stage.state for name, stage in self._stages.items()},
            self.goes_on,
            {name: stage.step.spec.after for name, stage in self._stages.items()},
            [name for name, stage in self._stages.items() if stage.step.spec.untracked or stage.last],
        )

    def __iter__(self) -> Iterator[Stage]:
        """All stages, in plan order."""
        return iter(self._stages.values())

    def __len__(self) -> int:
        """Number of stages."""
        return len(self._stages)

    def __getitem__(self, address: str) -> Stage:
        """The stage of an address."""
        return self._stages[address]

    def take_stale(self) -> bool:
        """Whether something has changed, since the last call, that may let a stage go on."""
        stale, self._stale = self._stale, False
        return stale

    def touch(self) -> None:
        """Have the stages checked again, because time has passed."""
        self._stale = True

    def say(self, stage: Stage, state: StageState, **fields: object) -> None:
        """Record and report the new state of a stage."""
        waiting_for = stage.report.waiting_for if state is StageState.QUEUED else ""
        fields = {"waiting_for": waiting_for, **fields}
        stage.report = replace(stage.report, state=state, **fields)  # type: ignore[arg-type]
        self._board.move(stage.address, state)
        self._stale = self._stale or state is not StageState.RUNNING
        self._listen(stage.report)

    def note_failure(self, stage: Stage, *, lost: bool) -> None:
        """Note that a stage has failed, after which others may be `closed`.

        Args:
            stage: The stage.
            lost: Whether its outs are still those of the last run, which stages downstream must not take for new.
        """
        self._failed.add(self._place[stage.address])
        if lost:
            self._lost.add(stage.address)

    def start(self, stage: Stage, task: StageTask) -> None:
        """Note that an attempt of a stage is in flight."""
        stage.task = task
        self._flying[stage.address] = stage

    def end(self, stage: Stage) -> None:
        """Note that a stage has no attempt in flight any more."""
        stage.task = stage.held = None
        stage.stale = ""
        del self._flying[stage.address]
        self._stale = True

    def among(self, state: StageState) -> list[Stage]:
        """Stages in a state, in plan order."""
        return [self._stages[name] for name in self._board.members(state)]

    def ready(self) -> list[Stage]:
        """Stages that wait for no other, in plan order."""
        return [self._stages[name] for name in self._board.ready()]

    def in_flight(self) -> list[Stage]:
        """Stages with an attempt in flight."""
        return list(self._flying.values())

    def flying(self, address: str) -> Stage | None:
        """The stage of an address, if it has an attempt in flight."""
        return self._flying.get(address)

    def between_tries(self) -> list[Stage]:
        """Stages whose last attempt has failed and that will be tried again."""
        return [stage for stage in self.among(StageState.QUEUED) if stage.task is None]

    def doomed(self) -> list[tuple[Stage, str]]:
        """Stages that will never be ready, each returned once, with the address of a stage that is to blame."""
        return [(self._stages[name], self._blame(self._stages[name])) for name in self._board.doomed()]

    def _blame(self, stage: Stage) -> str:
        ends = ((name, self._stages[name].state) for name in stage.step.spec.upstream)
        return next(name for name, state in ends if state.is_terminal and not self.goes_on(name, state))

    def goes_on(self, address: str, state: StageState) -> bool:
        """Whether stages that depend on one may run when it is in this state."""
        ignored = state is StageState.FAILED and self._on_error is OnError.IGNORE and address not in self._lost
        return state.is_success or ignored

    def closed(self, stage: Stage) -> bool:
        """Whether a stage may not start any more: an earlier one failed, after which ``dvc repro`` would have ended."""
        return self._closed(stage, self._failed)

    def _closed(self, stage: Stage, failed: Collection[int]) -> bool:
        return bool(failed) and self._on_error is OnError.FAIL and self._place[stage.address] > min(failed)

    def upstream_states(self, stage: Stage) -> list[StageState]:
        """States of the stages that a stage depends on."""
        return [self._stages[name].state for name in stage.step.spec.upstream]

    def first_open(self, stage: Stage) -> str:
        """The first earlier stage that has not ended; empty if all have: then this one cannot have begun too early."""
        name = self._board.first_open()
        return name if name and self._place[name] < self._place[stage.address] else ""

    def is_next(self, stage: Stage) -> bool:
        """Whether all earlier stages have succeeded, so that a serial run would have reached this one."""
        before = list(self)[: self._place[stage.address]]
        return all(each.state.is_success for each in before)

    def may_run_again(self, address: str) -> bool:
        """Whether an earlier stage has not ended: it may write what this one has read."""
        return bool(self.first_open(self._stages[address]))

    def around(self, stage: Stage, addresses: Iterable[str]) -> tuple[list[Stage], list[Stage]]:
        """Split stages into those before and those after one, in plan order."""
        here = self._place[stage.address]
        places = sorted(self._place[name] for name in addresses)
        stages = list(self._stages.values()) if places else []
        return [stages[each] for each in places if each < here], [stages[each] for each in places if each > here]

    def reopen(self, stages: Iterable[Stage], why: str) -> list[Stage]:
        """Decide stages again once all earlier ones have ended, and with them all stages that depend on them.

        An attempt in flight is `stale` from now on; its stage waits when it has ended.

        Args:
            stages: The stages.
            why: The reason to report.

        Returns:
            The stages to decide again that have run or are running.
        """
        direct = {stage.address for stage in stages}
        found: dict[str, Stage] = {}
        failed = set(self._failed)
        for name, stage in self._stages.items() if direct else ():
            is_direct = name in direct and not self._closed(stage, failed)
            if is_direct or any(above in found for above in stage.step.spec.upstream):
                found[name] = stage
                stage.again = True
                stage.last = stage.last or (is_direct and stage.state is not StageState.WAITING)
                failed.discard(self._place[name])  # its failure is taken back, so it closes no stage
        ran = {StageState.DONE, StageState.CACHED, StageState.FAILED}
        lost = [stage for stage in found.values() if stage.task is not None or stage.state in ran]
        for stage in found.values():
            stage.stale = why if stage.task is not None else ""
        if begun := [each for each in found.values() if each.task is None and each.state is not StageState.WAITING]:
            self.wait(begun, why)
        return lost

    def wait(self, stages: Sequence[Stage], why: str) -> None:
        """Put stages that have ended back to waiting, and those that were blocked because one of them had failed."""
        self._lost -= {stage.address for stage in stages}
        failed = {self._place[stage.address] for stage in stages} & self._failed
        self._failed -= failed
        blocked = self.among(StageState.BLOCKED) if failed else []
        for stage in {each.address: each for each in (*stages, *blocked)}.values():
            if stage.state in {StageState.DONE, StageState.CACHED}:
                stage.ran = stage.report
            stage.again = True
            stage.report = StageReport(address=stage.address, state=StageState.WAITING, reason=why)
            self._listen(stage.report)
        self._board = self._make_board()
        self._stale = True

    def unchanged(self, stage: Stage, reason: str = "unchanged") -> None:
        """Note that a stage need not run; if it has run before, its report from then stands."""
        if stage.ran is None:
            self.say(stage, StageState.UNCHANGED, reason=reason)
        else:
            stage.report = stage.ran
            self.say(stage, stage.ran.state)

    def must_look(self, stage: Stage) -> bool:
        """Whether the plan's decision on a stage may no longer hold."""
        spec = stage.step.spec
        ran = any(state is not StageState.UNCHANGED for state in self.states_before(stage))
        return ran or stage.again or bool(spec.untracked) or not stage.step.judged

    def states_before(self, stage: Stage) -> list[StageState]:
        """States of the stages that a stage depends on, and of those that only come before it."""
        return [self._stages[name].state for name in (*stage.step.spec.upstream, *stage.step.spec.after)]
