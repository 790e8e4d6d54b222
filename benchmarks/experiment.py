"""The cost of an experiment beyond its commands."""

from __future__ import annotations

from collections.abc import Iterator

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
    """Compare `exp run` with nothing to run, and with all stages forced."""
    found = {
        (what, number): _measure(bench, number, flags)
        for number in ((1,) if bench.quick else (1, 20))
        for what, flags in (("nothing to run", ()), ("all forced", ("--force",)))
    }
    yield table(COMPARED, [comparison(f"{what}, stages: {number}", *pair) for (what, number), pair in found.items()])
    yield goal("all forced, stages: 1, ours / stock (wall)", wall_ratio(*found["all forced", 1]), 1.05, "x")


def _measure(bench: Workbench, number: int, flags: tuple[str, ...]) -> tuple[list[Timing], list[Timing]]:
    project = bench.make(f"exp-{number}{''.join(flags)}", independent(number))
    stock, ours = bench.copy(project), bench.copy(project)
    for copy in (stock, ours):
        bench.time(copy, *STOCK, "exp", "run")

    def both() -> tuple[Timing, Timing]:
        return bench.time(stock, *STOCK, "exp", "run", *flags), bench.time(ours, *OURS, "exp", "run", *flags)

    return in_turn(1 if bench.quick else 5, both)
