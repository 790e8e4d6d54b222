"""What 50,000 ignored files cost: an environment with torch, and ``node_modules``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import OURS, STOCK, Timing, Workbench, comparison, goal, in_turn, independent, table, wall_ratio

_FOLDERS = ("env/lib", "node_modules")
_HEADER = ("20 trivial stages, --force", "n", "without, s", "with, s", "ratio", "CPU without, s", "with, s", "ratio")


def run(bench: Workbench) -> Iterator[str]:
    """Run one project with and without them, in turn."""
    number, times = (1_000, 1) if bench.quick else (50_000, 7)
    plain, crowded = (bench.make(name, independent(20)) for name in ("without", "with"))
    for project in (plain, crowded):
        with (project / ".gitignore").open("a", encoding="utf-8") as ignore:
            ignore.write("/env\n/node_modules\n")
    _fill(crowded, number)

    def both(*command: str) -> tuple[Timing, Timing]:
        return bench.time(plain, *command), bench.time(crowded, *command)

    stock = in_turn(times, lambda: both(*STOCK, "repro", "--force"))
    ours = in_turn(times, lambda: both(*OURS, "repro", "--force"))
    rows = [comparison("stock", *stock), comparison("dvc-ray", *ours)]
    yield table(_HEADER, rows)
    yield goal(f"a run with {number} ignored files against one without", wall_ratio(*ours), 1.05, "x")


def _fill(project: Path, number: int) -> None:
    for folder in _FOLDERS:
        for package in range(number // 200):
            (project / folder / str(package)).mkdir(parents=True)
            for module in range(100):
                (project / folder / str(package) / f"{module}.py").touch()
    (project / "env/pyvenv.cfg").touch()
