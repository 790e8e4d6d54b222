"""How soon the command line answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import COMPARED, OURS, STOCK, Timing, Workbench, comparison, goal, in_turn, table


def run(bench: Workbench) -> Iterator[str]:
    """Compare ``--help`` of stock DVC and dvc-ray."""

    def both() -> tuple[Timing, Timing]:
        return bench.time(Path.cwd(), *STOCK, "--help"), bench.time(Path.cwd(), *OURS, "--help")

    both()  # the first run of each reads it from the disk
    stock, ours = in_turn(1 if bench.quick else 10, both)
    yield table(COMPARED, [comparison("--help", stock, ours)])
    yield goal("dvc-ray --help", median(timing.wall for timing in ours), 0.15)
