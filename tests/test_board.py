"""What may go on, by a board that is told of changes and by looking at all stages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dvc_ray.driver.ready_queue import ReadyQueue
from dvc_ray.values.stage import StageState

_WAY = (StageState.QUEUED, StageState.RUNNING, StageState.DONE)


def goes_on(state: StageState) -> bool:
    return state.is_success


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    return {
        name: sorted(draw(st.sets(st.sampled_from(names[:place])))) if place else [] for place, name in enumerate(names)
    }


def waiting(upstream: dict[str, list[str]], states: dict[str, StageState]) -> list[str]:
    return [name for name in upstream if states[name] is StageState.WAITING]


def bad(upstream: list[str], states: dict[str, StageState]) -> bool:
    return any(states[each].is_terminal and not goes_on(states[each]) for each in upstream)


@given(upstream=graphs(), data=st.data())
def test_a_run(upstream: dict[str, list[str]], data: st.DataObject) -> None:
    states = {
        name: data.draw(st.sampled_from([StageState.WAITING, StageState.WAITING, StageState.UNCHANGED]))
        for name in upstream
    }
    board = ReadyQueue(upstream, states, lambda _, state: goes_on(state))
    told: set[str] = set()
    while True:
        assert board.ready() == [
            name for name in waiting(upstream, states) if all(goes_on(states[each]) for each in upstream[name])
        ]
        for state in StageState:
            assert board.members(state) == [name for name in upstream if states[name] is state]
        told |= set(board.doomed())
        assert {name for name in waiting(upstream, states) if bad(upstream[name], states)} <= told
        if doomed := [name for name in waiting(upstream, states) if name in told]:
            move(board, states, doomed[0], StageState.BLOCKED)
            continue
        going = [*board.ready(), *(name for name in upstream if states[name] in _WAY[:2])]
        if not going:
            break
        name = data.draw(st.sampled_from(going))
        following = _WAY[_WAY.index(states[name]) + 1] if states[name] in _WAY else StageState.QUEUED
        move(board, states, name, data.draw(st.sampled_from([following, StageState.FAILED])))
    assert not waiting(upstream, states)


def move(board: ReadyQueue, states: dict[str, StageState], name: str, state: StageState) -> None:
    states[name] = state
    board.move(name, state)
