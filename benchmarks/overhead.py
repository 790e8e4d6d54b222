"""The cost of a stage beyond its command, and of Ray's start and stop."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.harness import (
    COMPARED,
    OURS,
    Timing,
    Workbench,
    comparison,
    goal,
    independent,
    seconds,
    table,
)

_RAY_ALONE: Final = str(Path(__file__).with_name("ray_alone.py"))
_SHELL_OPTIONS: Final = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"]}
"""As ``dvc.stage.run`` calls a shell."""
_WARM: Final = "overhead beyond the command, without the first stage"


def run(bench: Workbench) -> Iterator[str]:
    """Compare trivial stages, then break down the time of dvc-ray's runs."""
    number, times = (5, 1) if bench.quick else (20, 5)
    project = bench.make("overhead", independent(number))
    stock, ours = bench.compare(project, ["repro"], ["repro"], times)
    yield table(COMPARED, [comparison(f"{number} trivial stages from clean", stock, ours)])

    apart = bench.copy(project)
    command = median(_command(bench, apart) for _ in range(number))
    serial = [_serial(bench, project, "auto") for _ in range(times)]
    on_ray = [_serial(bench, project, "ray") for _ in range(times)]
    in_processes, by_ray = _costs(serial, command), _costs(on_ray, command)
    yield table(
        ("one stage, warm worker, -j 1", "in processes, ms a stage", "on a local Ray"),
        [
            [label, f"{1000 * median(found):.1f}", f"{1000 * median(by_ray[label]):.1f}"]
            for label, found in in_processes.items()
        ],
    )
    yield goal("overhead of a warm stage beyond its command, in processes", median(in_processes[_WARM]), 0.1)
    yield goal("the same, on a local Ray", median(by_ray[_WARM]), 0.3)
    yield table(("Ray", "s"), [[label, seconds(found)] for label, found in _ray(bench, on_ray, times).items()])


def _serial(bench: Workbench, project: Path, local: str) -> Timing:
    """Run the stages one after the other, in one of the ways to run them on this machine."""
    copy = bench.copy(project)
    (copy / ".dvc" / "ray.local.toml").write_text(f'local = "{local}"\n')
    return bench.time(copy, *OURS, "repro", "--jobs", "1", "--json")


def _command(bench: Workbench, project: Path) -> float:
    """Return the seconds that a command alone takes, run as DVC runs it."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    options = _SHELL_OPTIONS.get(Path(shell).name, [])
    return bench.time(project, shell, *options, "-c", "echo 1 > out/alone.txt").wall


def _costs(serial: list[Timing], command: float) -> dict[str, list[float]]:
    warm = [_each_after_first(timing) for timing in serial]
    worker = [median(event["seconds"] for _, event in timing.stages("done")[1:]) for timing in serial]
    return {
        "the command alone": [command],
        "overhead beyond the command, all stages": [_each(timing) - command for timing in serial],
        _WARM: [each - command for each in warm],
        "of it on the worker": [each - command for each in worker],
        "of it on the head and on the way": [whole - part for whole, part in zip(warm, worker, strict=True)],
        "first stage, 'running' to 'done' (on Ray its worker imports DVC)": [
            timing.stages("done")[0][0] - timing.stages("running")[0][0] for timing in serial
        ],
    }


def _each(timing: Timing) -> float:
    done = timing.stages("done")
    return (done[-1][0] - timing.stages("running")[0][0]) / len(done)


def _each_after_first(timing: Timing) -> float:
    done = timing.stages("done")
    return (done[-1][0] - done[0][0]) / (len(done) - 1)


def _ray(bench: Workbench, serial: list[Timing], times: int) -> dict[str, list[float]]:
    found = {
        "process start to first 'queued' (Ray is started just before)": [
            timing.stages("queued")[0][0] - timing.begun for timing in serial
        ],
        "first 'queued' to its 'running' (Ray starts)": [
            timing.stages("running")[0][0] - timing.stages("queued")[0][0] for timing in serial
        ],
        "last 'done' to process exit (Ray stops)": [timing.exit() - timing.stages("done")[-1][0] for timing in serial],
        "of it after 'end'": [timing.exit() - timing.end() for timing in serial],
    }
    alone = [_ray_alone(bench) for _ in range(times)]
    return found | {f"Ray alone: {name}": [each[name] for each in alone] for name in alone[0]}


def _ray_alone(bench: Workbench) -> dict[str, float]:
    # Not under the workbench, as socket paths may have at most 107 bytes. Removed when all of Ray has ended.
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as directory:
        said = bench.time(Path.cwd(), sys.executable, _RAY_ALONE, directory).lines[-1][1]
    found: dict[str, float] = json.loads(said)
    return found
