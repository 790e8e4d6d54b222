"""The cost of ignored files: 50,000 in an environment with torch and ``node_modules``; 20,000 beside a tracked file.

A workspace has one link for each folder of the former, and one for each file of the latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import OURS, STOCK, Timing, Workbench, comparison, goal, in_turn, independent, table, wall_ratio

_FOLDERS = ("env/lib", "node_modules")
_IGNORE = "/env\n/node_modules\n/data/*\n!/data/README\n"
_HEADER = ("20 trivial stages, --force", "n", "without, s", "with, s", "ratio", "CPU without, s", "with, s", "ratio")


def run(bench: Workbench) -> Iterator[str]:
    """Run one project with and without ignored files, in turn."""
    number, beside, times = (1_000, 400, 1) if bench.quick else (50_000, 20_000, 7)
    plain, crowded, mixed = (bench.make(name, independent(20)) for name in ("without", "in folders", "beside"))
    for project in (plain, crowded, mixed):
        with (project / ".gitignore").open("a", encoding="utf-8") as ignore:
            ignore.write(_IGNORE)
    _fill(crowded, number)
    _fill_beside(mixed, beside)
    bench.time(mixed, "git", "add", "data")

    def against(project: Path, *command: str) -> tuple[list[Timing], list[Timing]]:
        return in_turn(times, lambda: (bench.time(plain, *command), bench.time(project, *command)))

    rows = [comparison(f"stock, {number} in folders", *against(crowded, *STOCK, "repro", "--force"))]
    whole = against(crowded, *OURS, "repro", "--force")
    rows.append(comparison(f"dvc-ray, {number} in folders", *whole))
    rows.append(comparison(f"stock, {beside} beside a tracked one", *against(mixed, *STOCK, "repro", "--force")))
    each = against(mixed, *OURS, "repro", "--force")
    rows.append(comparison(f"dvc-ray, {beside} beside a tracked one", *each))
    yield table(_HEADER, rows)
    yield goal(f"a run with {number} ignored files in folders against one without", wall_ratio(*whole), 1.05, "x")
    yield f"A run with {beside} of them beside a tracked one against one without: {wall_ratio(*each):.2f} x."


def _fill(project: Path, number: int) -> None:
    for folder in _FOLDERS:
        for package in range(number // 200):
            (project / folder / str(package)).mkdir(parents=True)
            for module in range(100):
                (project / folder / str(package) / f"{module}.py").touch()
    (project / "env/pyvenv.cfg").touch()


def _fill_beside(project: Path, number: int) -> None:
    (project / "data").mkdir()
    (project / "data/README").touch()
    for each in range(number):
        (project / f"data/{each}.bin").touch()
