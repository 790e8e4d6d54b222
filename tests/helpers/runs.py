"""`dvc-ray` as tests run it: in this process, in one of its own, on Ray or without."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.cli import main
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.executors.ray import RayExecutor
from dvc_ray.values.report import Notice, RunEvent, RunResult, Saved
from dvc_ray.values.run import Experiment, RunRequest
from tests.helpers import stock
from tests.helpers.listening import telling
from tests.helpers.running import Running


class Repro:
    """`dvc-ray repro` in this process, on the shared Ray."""

    def __init__(self, executor: RayExecutor) -> None:
        self.executor = executor
        self.events: list[RunEvent] = []

    def __call__(self, root: Path, request: RunRequest | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            return api.repro(request, sinks=telling(self.events.append), executor=self.executor)


class Locally:
    """`dvc-ray repro` without Ray: what is tested here is not where attempts run."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def __call__(self, root: Path, request: RunRequest | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            return api.repro(request, sinks=telling(self.events.append), executor=LocalExecutor())

    @property
    def warnings(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Notice) and event.level == "warning")


class Cli:
    """The command line as a user runs it, in a process of its own."""

    def __call__(
        self, root: Path, *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dvc_ray", *arguments],
            cwd=root,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


class Here:
    """The command line in this process, without Ray: a tenth of the time, where what is said is the subject."""

    def __call__(self, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            stock.in_directory(root),
            warnings.catch_warnings(),
            _handlers_kept(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            warnings.simplefilter("ignore")
            patch.setattr("dvc_ray.api.run.on_this_machine", lambda *_: LocalExecutor())
            try:
                code = main(arguments)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Apart:
    """`dvc-ray repro` as on a cluster: the node's disk is a folder that the head never looks into."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self.events: list[RunEvent] = []
        self.executor: LocalExecutor | None = None

    def __call__(self, root: Path, request: RunRequest | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            executor = self.executor or LocalExecutor(apart=True)
            return api.repro(request, sinks=telling(self.events.append), executor=executor)

    def exp_run(self, root: Path, experiment: Experiment) -> tuple[RunResult, Saved | None]:
        """`dvc-ray exp run`, as that."""
        self.events = []
        with stock.in_directory(root):
            executor = LocalExecutor(apart=True)
            return api.exp_run(experiment, sinks=telling(self.events.append), executor=executor)

    @property
    def text(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Notice))


Start = Callable[[Path], Running]
