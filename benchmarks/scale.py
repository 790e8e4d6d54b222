"""How the time and the memory of no-op, plan and run grow with the number of stages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Final

from benchmarks.harness import (
    COMPARED,
    OURS,
    STOCK,
    Timing,
    Workbench,
    comparison,
    cpu_ratio,
    goal,
    in_turn,
    independent,
    table,
    wall_ratio,
)

_Pair = tuple[list[Timing], list[Timing]]
_SIZES: Final = (1, 20, 200, 1000)
_FEW: Final = 200
"""Stages from which a run is measured once: stock DVC takes many minutes for 1,000."""
_RUN_RATIOS: Final = {1: 1.05, 20: 1.0, 200: 0.3}
_SERIAL_CPU: Final = 1.1
_PLAN_SECONDS: Final = 5
_PLAN_MIB: Final = 300


def plan(bench: Workbench) -> Iterator[str]:
    """Compare ``repro --dry`` at each size, and say how it grows."""
    return _compare(bench, "plan", _plan)


def noop(bench: Workbench) -> Iterator[str]:
    """Compare ``repro`` with nothing to do."""
    return _compare(bench, "no-op", _noop)


def run(bench: Workbench) -> Iterator[str]:
    """Compare ``repro`` from a clean project; the largest size takes by far the longest."""
    yield from _compare(bench, "run", _run)
    for number in [size for size in _sizes(bench) if size <= _FEW]:
        found = _run(bench, number, "--jobs", "1")
        yield table(COMPARED, [comparison(f"run -j 1, stages: {number}", *found)])
        yield goal(f"run -j 1, stages: {number}, ours / stock (CPU)", cpu_ratio(*found), _SERIAL_CPU, "x")


def _compare(bench: Workbench, what: str, measure: Callable[[Workbench, int], _Pair]) -> Iterator[str]:
    found: dict[int, _Pair] = {}
    for number in _sizes(bench):
        found[number] = measure(bench, number)
        yield table(COMPARED, [comparison(f"{what}, stages: {number}", *found[number])])
    yield table(("largest process, MiB", "stock", "dvc-ray"), _memory(what, found))
    yield table((f"{what}: growth of wall s", "stock", "dvc-ray"), _growth(found))
    yield from _goals(what, found)


def _sizes(bench: Workbench) -> list[int]:
    return [size for size in _SIZES if bench.most is None or size <= bench.most]


def _goals(what: str, found: Mapping[int, _Pair]) -> Iterator[str]:
    if what == "plan":
        number, (_, ours) = list(found.items())[-1]
        yield goal(f"plan of {number} stages", _wall(ours), _PLAN_SECONDS)
        yield goal(f"memory for it, of {number} stages", _peak(ours), _PLAN_MIB, "MiB")
    if what == "no-op":
        for number, pair in found.items():
            yield goal(f"no-op, stages: {number}, ours / stock (wall)", wall_ratio(*pair), 1, "x")
    if what == "run":
        for number in found.keys() & _RUN_RATIOS.keys():
            yield goal(
                f"run, stages: {number}, ours / stock (wall)", wall_ratio(*found[number]), _RUN_RATIOS[number], "x"
            )


def _plan(bench: Workbench, number: int) -> _Pair:
    """Measure before anything has run; a dry run changes nothing, so one copy serves all repetitions."""
    project = bench.make(f"plan-{number}", independent(number))
    flags = ("repro", "--dry")
    return in_turn(
        1 if bench.quick else 3, lambda: (bench.time(project, *STOCK, *flags), bench.time(project, *OURS, *flags))
    )


def _run(bench: Workbench, number: int, *flags: str) -> _Pair:
    project = bench.make(f"run-{number}{''.join(flags)}", independent(number))
    return bench.compare(project, ["repro"], ["repro", *flags], 1 if bench.quick or number >= _FEW else 7)


def _noop(bench: Workbench, number: int) -> _Pair:
    """Measure a project that has been run: DVC hashes files once, and remembers the hashes for either program."""
    project = bench.make(f"again-{number}", independent(number))
    bench.time(project, *OURS, "repro")
    return in_turn(
        1 if bench.quick else 7, lambda: (bench.time(project, *STOCK, "repro"), bench.time(project, *OURS, "repro"))
    )


def _memory(what: str, found: Mapping[int, _Pair]) -> list[list[str]]:
    return [
        [f"{what}, stages: {number}", *(f"{_peak(timings):.0f}" for timings in pair)] for number, pair in found.items()
    ]


def _growth(found: Mapping[int, _Pair]) -> list[list[str]]:
    return [
        [
            f"{few} to {many} stages, {many / few:g} x",
            *(_times_more(found[few][side], found[many][side]) for side in (0, 1)),
        ]
        for few, many in itertools.pairwise(found)
    ]


def _times_more(few: list[Timing], many: list[Timing]) -> str:
    return f"{_wall(many) / _wall(few):.1f} x"


def _wall(timings: list[Timing]) -> float:
    return median(timing.wall for timing in timings)


def _peak(timings: list[Timing]) -> float:
    return median(timing.peak for timing in timings)
