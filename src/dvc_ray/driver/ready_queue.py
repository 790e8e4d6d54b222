"""Which stages wait and which may go on, kept up to date, so that a query costs the same in a run of any size."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence

from dvc_ray.values.stage import StageState


class ReadyQueue:
    """The states of a run's stages.

    Args:
        upstream: Stages that each depends on, in plan order.
        states: State of each at the start.
        goes_on: Whether stages that depend on a named one may run when that is in a state.
        after: Stages that must end before each, however they end.
        last: Stages that wait until all earlier ones have ended, however those end.
    """

    def __init__(
        self,
        upstream: Mapping[str, Sequence[str]],
        states: Mapping[str, StageState],
        goes_on: Callable[[str, StageState], bool],
        after: Mapping[str, Sequence[str]] | None = None,
        last: Iterable[str] = (),
    ) -> None:
        self._goes_on = goes_on
        self._place = {name: place for place, name in enumerate(upstream)}
        self._states = dict(states)
        self._members: dict[StageState, set[str]] = {state: set() for state in StageState}
        self._downstream: dict[str, list[str]] = {name: [] for name in upstream}
        self._unmet = {name: sum(not goes_on(each, states[each]) for each in names) for name, names in upstream.items()}
        self._later: dict[str, list[str]] = {name: [] for name in upstream}
        for name, names in (after or {}).items():
            self._unmet[name] += sum(not states[each].is_terminal for each in names)
            for each in names:
                self._later[each].append(name)
        for name, names in upstream.items():
            self._members[states[name]].add(name)
            for each in names:
                self._downstream[each].append(name)
        self._names = list(upstream)
        self._last = set(last)
        for name in self._last:
            self._unmet[name] += 1
        self._first = 0
        """Place of the first stage whose state is not terminal."""
        self._ready: list[int] = []
        self._pass_ended()
        waiting = self._members[StageState.WAITING]
        self._ready = [self._place[name] for name in upstream if name in waiting and not self._unmet[name]]
        self._doomed = [
            below
            for name in upstream
            if states[name].is_terminal and not goes_on(name, states[name])
            for below in self._downstream[name]
        ]

    def move(self, name: str, state: StageState) -> None:
        """Note the new state of a stage."""
        old = self._states[name]
        if old is state:
            return
        self._states[name] = state
        self._members[old].discard(name)
        self._members[state].add(name)
        if old is StageState.WAITING and not self._unmet[name]:
            del self._ready[bisect.bisect_left(self._ready, self._place[name])]
        if state.is_terminal:
            self._tell_downstream(name, goes_on=self._goes_on(name, state))
            self._pass_ended()

    def _tell_downstream(self, name: str, *, goes_on: bool) -> None:
        if not goes_on:
            self._doomed += self._downstream[name]
        for each in [*self._later[name], *(self._downstream[name] if goes_on else ())]:
            self._met(each)

    def _pass_ended(self) -> None:
        """Advance to the first stage that has not ended: if it waits for all earlier stages, it does so no longer."""
        names = self._names
        while self._first < len(names) and self._states[names[self._first]].is_terminal:
            self._first += 1
        if self._first < len(names) and names[self._first] in self._last:
            self._last.discard(names[self._first])
            self._met(names[self._first])

    def _met(self, name: str) -> None:
        """Note that a stage waits for one stage less."""
        self._unmet[name] -= 1
        if not self._unmet[name] and self._states[name] is StageState.WAITING:
            bisect.insort(self._ready, self._place[name])

    def members(self, state: StageState) -> list[str]:
        """The stages in a state, in plan order."""
        return sorted(self._members[state], key=self._place.__getitem__)

    def first_open(self) -> str:
        """The first stage that has not ended; empty if all have."""
        return self._names[self._first] if self._first < len(self._names) else ""

    def ready(self) -> list[str]:
        """The stages that wait for no other, in plan order."""
        return [self._names[place] for place in self._ready]

    def doomed(self) -> list[str]:
        """Stages that wait for one that will not let them go on; each returned once, in plan order."""
        found, self._doomed = self._doomed, []
        waiting = {name for name in found if self._states[name] is StageState.WAITING}
        return sorted(waiting, key=self._place.__getitem__)
