"""A repro with nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import (
    COMPARED,
    OURS,
    STOCK,
    Timing,
    Workbench,
    comparison,
    goal,
    in_turn,
    independent,
    table,
    wall_ratio,
)


def run(bench: Workbench) -> Iterator[str]:
    """Compare projects of several sizes."""
    found = {number: _measure(bench, number) for number in ((1, 20) if bench.quick else (1, 20, 200))}
    yield table(COMPARED, [comparison(f"stages: {number}", *pair) for number, pair in found.items()])
    for number, pair in found.items():
        yield goal(f"no-op, stages: {number}, ours / stock (wall)", wall_ratio(*pair), 1, "x")


def _measure(bench: Workbench, number: int) -> tuple[list[Timing], list[Timing]]:
    project = bench.make(f"noop-{number}", independent(number))
    bench.time(project, *STOCK, "repro")
    stock, ours = _seen(bench, project), _seen(bench, project)

    def both() -> tuple[Timing, Timing]:
        return bench.time(stock, *STOCK, "repro"), bench.time(ours, *OURS, "repro")

    return in_turn(1 if bench.quick else 7, both)


def _seen(bench: Workbench, project: Path) -> Path:
    """A copy whose files DVC has hashed: it remembers them by inode, which a copy does not keep.

    A repro with nothing to do leaves it as it is, so that one copy serves all repetitions.
    """
    copy = bench.copy(project)
    bench.time(copy, *STOCK, "repro")
    return copy
