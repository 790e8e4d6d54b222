"""dvc-ray in a process of its own, watched while it runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil


class Running:
    """`dvc-ray repro --json`, in a session of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc_ray", "repro", "--json"],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []
        self.family: list[psutil.Process] = []
        """All that had been started when `wait_for` returned."""

    def wait_for(self, text: str) -> str:
        """Wait for an event whose text has some words in it; returns the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            found = str(self.events[-1].get("text", ""))
            if text in found:
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return found
        raise AssertionError((self.process.communicate(), self.events))

    def finish(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what it said to stderr."""
        out, err = self.process.communicate(timeout=180)
        self.events += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, err

    def alive(self) -> list[psutil.Process]:
        """What of the family still runs after all the time that ending may take."""
        return psutil.wait_procs(self.family, timeout=30)[1]

    def ray_dirs(self) -> list[Path]:
        """Temporary directories of the Ray it has started."""
        return [Path(path) for path in _ray_dirs(self.family)]

    def kill(self) -> None:
        """End what is left of it and of its family."""
        for pid in (self.process.pid, *(each.pid for each in self.family)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


def _ray_dirs(family: list[psutil.Process]) -> Iterator[str]:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            for argument in process.cmdline():
                if argument.startswith(("--session-dir=", "--session_dir=")):
                    yield argument.partition("=")[2].rpartition("/")[0]
