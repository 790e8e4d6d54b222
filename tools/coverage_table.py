"""Runs tests and prints how many of the package's lines and branches they run, by room: ``make coverage``.

Measured are this process, the processes that xdist and the tests start (the command line, a stage's own Python), and
Ray's workers. Not measured are processes that are killed, and those without ``site``, in which coverage cannot start:
the guard of a command and the janitor of a local Ray (``python -I -S``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "src/dvc_ray/"


@dataclass(frozen=True, slots=True)
class Figure:
    """The lines and branches of some code, and how many of them were run."""

    lines: int = 0
    run_lines: int = 0
    branches: int = 0
    run_branches: int = 0

    def __add__(self, other: Figure) -> Figure:
        """Add two figures."""
        return Figure(
            self.lines + other.lines,
            self.run_lines + other.run_lines,
            self.branches + other.branches,
            self.run_branches + other.run_branches,
        )

    @property
    def percent(self) -> float:
        """Lines and branches in one figure, as coverage computes it; 100 if there are none."""
        there = self.lines + self.branches
        return 100 * (self.run_lines + self.run_branches) / there if there else 100.0


def by_room(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Add up the modules of each room.

    Args:
        files: the report of ``coverage json`` on each file, by its path from the root.
    """
    rooms: dict[str, Figure] = {}
    for path, told in files.items():
        name = path.removeprefix(PACKAGE).split("/")[0].removesuffix(".py")
        found = told["summary"]
        figure = Figure(
            found["num_statements"], found["covered_lines"], found["num_branches"], found["covered_branches"]
        )
        rooms[name] = rooms.get(name, Figure()) + figure
    return {name: rooms[name] for name in sorted(rooms)}


def table(rooms: Mapping[str, Figure]) -> str:
    """Return the rooms as lines of text, and their sum."""
    rows = [*rooms.items(), ("total", sum(rooms.values(), Figure()))]
    lines = [f"{'room':<14} {'lines':>13} {'branches':>13} {'both':>6}"]
    for name, figure in rows:
        run = f"{figure.run_lines}/{figure.lines}"
        taken = f"{figure.run_branches}/{figure.branches}"
        lines.append(f"{name:<14} {run:>13} {taken:>13} {figure.percent:5.1f}%")
    return "\n".join(lines)


@contextmanager
def _ray_measured() -> Iterator[None]:
    """Make each measured Python process of this environment run `ray_measured` at its start."""
    script = ROOT / "tools" / "ray_measured.py"
    # .pth files are read in the order of their names: this one before coverage's own, a1_coverage.pth.
    hook = Path(sysconfig.get_path("purelib")) / "a0_ray_measured.pth"
    run = f"exec(open({str(script)!r}).read(), {{}})"
    hook.write_text(f"import os; 'COVERAGE_PROCESS_CONFIG' in os.environ and {run}\n")
    try:
        yield
    finally:
        hook.unlink()


def main(arguments: Sequence[str]) -> int:
    """Run the tests, print the table; return the exit code of pytest.

    Args:
        arguments: the arguments for pytest.
    """
    coverage = [sys.executable, "-m", "coverage"]
    env = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage")}
    subprocess.run([*coverage, "erase"], cwd=ROOT, env=env, check=True)
    with _ray_measured():
        tests = subprocess.run([*coverage, "run", "-m", "pytest", *arguments], cwd=ROOT, env=env, check=False)
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=env, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "coverage.json"
        subprocess.run([*coverage, "json", "--quiet", "-o", str(told)], cwd=ROOT, env=env, check=True)
        print(table(by_room(json.loads(told.read_text())["files"])))
    return tests.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
