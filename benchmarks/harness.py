"""Shared by all claims: generated projects, command lines timed in turn, Markdown tables."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

from benchmarks import cpu
from dvc_ray import __version__

STOCK: Final = (sys.executable, "-m", "dvc")
OURS: Final = (sys.executable, "-m", "dvc_ray")
COMPARED: Final = ("", "n", "stock wall s", "dvc-ray wall s", "ratio", "stock CPU s", "dvc-ray CPU s", "ratio")
"""Header of a table of `comparison` rows."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a generated project."""

    name: str
    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]

    def yaml(self) -> str:
        """Return the stage as it is written in dvc.yaml."""
        lists = "".join(
            f"    {key}:\n" + "".join(f"    - {path}\n" for path in paths)
            for key, paths in (("deps", self.deps), ("outs", self.outs))
        )
        # A JSON string is a YAML string, whatever is in the command.
        return f"  {self.name}:\n    cmd: {json.dumps(self.cmd)}\n{lists}"


def independent(number: int, before: str = "") -> list[Stage]:
    """Make stages with one dep and one out each, whose commands cost next to nothing, except for `before`."""
    return [
        Stage(
            name=f"s{each:03}",
            cmd=f"{before}echo {each} > out/{each}.txt",
            deps=(f"in/{each}.txt",),
            outs=(f"out/{each}.txt",),
        )
        for each in range(1, number + 1)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One run of a command line, in seconds; `lines` are the printed lines, each with the time of its arrival."""

    wall: float
    cpu: float
    """CPU seconds of the process and all that it started: see `benchmarks.cpu`."""
    peak: float
    """MiB of memory of the largest process: of this one and those that it waited for."""
    begun: float
    lines: tuple[tuple[float, str], ...]

    def stages(self, state: str) -> list[tuple[float, dict[str, Any]]]:
        """Return when stages reached a state, in order, each with the event of ``--json``."""
        return [
            (at, event) for at, event in self._events() if event["event"] == "stage" and event.get("state") == state
        ]

    def end(self) -> float:
        """Return when the run reported its end."""
        return next(at for at, event in self._events() if event["event"] == "end")

    def exit(self) -> float:
        """Return when the process had ended."""
        return self.begun + self.wall

    def _events(self) -> list[tuple[float, dict[str, Any]]]:
        return [(at, json.loads(line)) for at, line in self.lines]


class Workbench:
    """Makes projects and runs command lines in them.

    Args:
        root: Directory for the projects and all other files.
        quick: Whether to measure once and small.
        most: Stages at most, of the claims that grow with them; None: all sizes.
    """

    def __init__(self, root: Path, *, quick: bool, most: int | None = None) -> None:
        self.quick = quick
        self.most = 20 if quick else most
        self._root = root
        self._copies = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "RAY_", "GIT_"))}
        self._environ = {
            **kept,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(root / "site-cache"),
            **{f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def make(self, name: str, stages: Iterable[Stage]) -> Path:
        """Make a Git and DVC project, with the deps that none of its stages writes."""
        project = self._root / name
        stages = list(stages)
        (project / "out").mkdir(parents=True)
        written = {out for stage in stages for out in stage.outs}
        for dep in sorted({dep for stage in stages for dep in stage.deps} - written):
            (project / dep).parent.mkdir(exist_ok=True)
            (project / dep).write_text(f"{dep}\n", encoding="utf-8")
        if stages:
            text = "stages:\n" + "".join(stage.yaml() for stage in stages)
            (project / "dvc.yaml").write_text(text, encoding="utf-8")
        self.time(project, "git", "init", "--quiet")
        self.time(project, *STOCK, "init", "--quiet")
        # Stock DVC would start a process in the background that asks the network for a newer version.
        self.time(project, *STOCK, "config", "core.check_update", "false")
        self.time(project, "git", "add", "--all")
        self.time(project, "git", "commit", "--quiet", "--message", "start")
        return project

    def copy(self, project: Path) -> Path:
        """Copy a generated project."""
        self._copies += 1
        return Path(shutil.copytree(project, self._root / f"copy-{self._copies}", symlinks=True))

    def time(self, cwd: Path, *argv: str) -> Timing:
        """Run a command line to its end.

        Raises:
            RuntimeError: It failed.
        """
        lines = []
        with tempfile.TemporaryFile(dir=self._root) as said:
            lasting = cpu.children()
            before, begun = cpu.waited(), time.perf_counter()
            with subprocess.Popen(
                argv, cwd=cwd, env=self._environ, text=True, stdout=subprocess.PIPE, stderr=said
            ) as process:
                unwaited = cpu.Unwaited(process.pid)
                unwaited.start()
                assert process.stdout is not None  # noqa: S101
                for line in process.stdout:
                    lines.append((time.perf_counter(), line))  # noqa: PERF401  it comes as it is printed
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - begun
            more = unwaited.total(cpu.reap(lasting))
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{argv} exited with {process.returncode}: {said.read().decode()}")
        spent = cpu.waited() - before + more
        return Timing(wall=wall, cpu=spent, peak=used.ru_maxrss / 1024, begun=begun, lines=tuple(lines))

    def compare(
        self, project: Path, stock: Sequence[str], ours: Sequence[str], times: int
    ) -> tuple[list[Timing], list[Timing]]:
        """Run two command lines in turn, each time on fresh copies, and check that both leave the same dvc.lock.

        Raises:
            RuntimeError: One failed, or they left different results.
        """

        def both() -> tuple[Timing, Timing]:
            copies = self.copy(project), self.copy(project)
            found = self.time(copies[0], *STOCK, *stock), self.time(copies[1], *OURS, *ours)
            same(*copies)
            for copy in copies:
                shutil.rmtree(copy)
            return found

        return in_turn(times, both)


def in_turn(times: int, both: Callable[[], tuple[_T, _T]]) -> tuple[list[_T], list[_T]]:
    """Take a pair of measurements several times, so that other load of the machine affects both sides alike."""
    pairs = [both() for _ in range(times)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def same(stock: Path, ours: Path) -> None:
    """Check that two runs did the same work.

    Raises:
        RuntimeError: They did not.
    """
    if (stock / "dvc.lock").read_bytes() != (ours / "dvc.lock").read_bytes():
        raise RuntimeError("stock DVC and dvc-ray left different dvc.lock files: nothing can be compared")


def comparison(label: str, stock: Sequence[Timing], ours: Sequence[Timing]) -> list[str]:
    """Return a row of a table with the header `COMPARED`."""
    number = str(len(stock)) if len(stock) == len(ours) else f"{len(stock)}, {len(ours)}"
    wall = [timing.wall for timing in stock], [timing.wall for timing in ours]
    used = [timing.cpu for timing in stock], [timing.cpu for timing in ours]
    return [label, number, *map(seconds, wall), _ratio(*wall), *map(seconds, used), _ratio(*used)]


def seconds(found: Sequence[float]) -> str:
    """Return the median of some durations, with the smallest and the largest."""
    if len(found) == 1:
        return f"{found[0]:.3f}"
    return f"{median(found):.3f} ({min(found):.3f}-{max(found):.3f})"


def goal(what: str, found: float, limit: float, unit: str = "s") -> str:
    """Return a line that says whether a goal is met."""
    verdict = "met" if found <= limit else "missed"
    return f"Goal: {what} <= {limit:g} {unit}. Found {found:.3f} {unit}: {verdict}."


def cpu_ratio(stock: Sequence[Timing], ours: Sequence[Timing]) -> float:
    """Return the median CPU time of ours, in stock's."""
    return median(timing.cpu for timing in ours) / median(timing.cpu for timing in stock)


def wall_ratio(stock: Sequence[Timing], ours: Sequence[Timing]) -> float:
    """Return the median wall time of dvc-ray, divided by that of stock DVC."""
    return median(timing.wall for timing in ours) / median(timing.wall for timing in stock)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, in which all columns except the first are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def machine() -> str:
    """Describe the machine that measures."""
    cores = len(os.sched_getaffinity(0))
    versions = f"Python {platform.python_version()}, dvc {version('dvc')}, ray {version('ray')}, dvc-ray {__version__}"
    return f"Machine: {cores} cores ({_processor()}), load average {load()} at the start; {versions}."


def load() -> str:
    """Return the load average over 1, 5 and 15 minutes."""
    return ", ".join(f"{each:.2f}" for each in os.getloadavg())


def _ratio(stock: Sequence[float], ours: Sequence[float]) -> str:
    return f"{median(ours) / median(stock):.2f}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
