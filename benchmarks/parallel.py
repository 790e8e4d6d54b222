"""Independent stages at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.harness import COMPARED, OURS, Timing, Workbench, comparison, goal, independent, seconds, table

_STAGES = 8


def run(bench: Workbench) -> Iterator[str]:
    """Compare stages that wait: stock runs them one after the other."""
    length = 2 if bench.quick else 10
    project = bench.make("parallel", independent(_STAGES, before=f"sleep {length}; "))
    arguments = ["repro", "--jobs", str(_STAGES), "--json"]
    stock, ours = bench.compare(project, ["repro"], arguments, 1)
    ours += [bench.time(bench.copy(project), *OURS, *arguments) for _ in range(0 if bench.quick else 2)]
    yield table(COMPARED, [comparison(f"{_STAGES} stages of `sleep {length}`, -j {_STAGES}", stock, ours)])
    yield table(("phase of dvc-ray", "s"), [[label, seconds(found)] for label, found in _phases(ours).items()])
    beyond = median(_working(timing) for timing in ours) / length
    yield goal("first 'running' to last 'done', of the ideal", beyond, 1.2, "x")


def _phases(ours: list[Timing]) -> dict[str, list[float]]:
    return {
        "process start to first 'running'": [timing.stages("running")[0][0] - timing.begun for timing in ours],
        "first 'running' to last 'running'": [
            timing.stages("running")[-1][0] - timing.stages("running")[0][0] for timing in ours
        ],
        "first 'running' to last 'done'": [_working(timing) for timing in ours],
        "first 'running' to 'end'": [timing.end() - timing.stages("running")[0][0] for timing in ours],
        "last 'done' to process exit": [timing.exit() - timing.stages("done")[-1][0] for timing in ours],
    }


def _working(timing: Timing) -> float:
    return timing.stages("done")[-1][0] - timing.stages("running")[0][0]
