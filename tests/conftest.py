"""Fixtures of all tests: real projects, real DVC, one shared Ray."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.executors.ray import RayExecutor
from dvc_ray.values.report import Notice, RunEvent, RunResult, Saved
from dvc_ray.values.run import Experiment, RunOptions, Selection
from tests import stock
from tests.running import Running
from tests.seaweed import Server


def pytest_report_header() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("dvc", "dvclive", "ray"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread tests over processes, but those with hosts: they share theirs. (Marks for that, ``xdist_group``, are not
    seen by xdist 3.8 with pytest 9.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "hosts" if nodeid.startswith("tests/hosts/") else nodeid

    return Scheduler(config, log)


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No analytics, no user's settings, one place for DVC's own caches."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\nname = a\nemail = a@example.com\n[init]\ndefaultBranch = main\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "site"))
        patch.setenv("HOME", str(home))
        patch.setenv("SHELL", "/bin/bash")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_ray(_environment: None) -> Iterator[RayExecutor]:
    """One local Ray for all tests that do not test its start or end."""
    executor = RayExecutor(None)
    executor.warm_up(4)
    with contextlib.closing(executor):
        yield executor


class Repro:
    """`dvc-ray repro` in this process, on the shared Ray."""

    def __init__(self, executor: RayExecutor) -> None:
        self.executor = executor
        self.events: list[RunEvent] = []

    def __call__(self, root: Path, selection: Selection | None = None, options: RunOptions | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            return api.repro(selection, options, listen=self.events.append, executor=self.executor)


@pytest.fixture
def repro(shared_ray: RayExecutor) -> Repro:
    return Repro(shared_ray)


class Locally:
    """`dvc-ray repro` without Ray: what is tested here is not where attempts run."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def __call__(self, root: Path, selection: Selection | None = None, options: RunOptions | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            return api.repro(selection, options, listen=self.events.append, executor=LocalExecutor())

    @property
    def warnings(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Notice) and event.level == "warning")


@pytest.fixture
def locally() -> Locally:
    return Locally()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("obstore", reason="not installed: pip install 'dvc-ray[s3]'")
    made = Server(tmp_path_factory.mktemp("s3"))
    made.bucket("bucket")
    yield made
    made.stop()


@pytest.fixture
def project(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Makes a Git and DVC project from texts by path."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "project"
        root.mkdir()
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        stock.initialise(root)
        return root

    return make


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


@pytest.fixture
def cli() -> Cli:
    return Cli()


Start = Callable[[Path], Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `dvc-ray repro` in a process of its own; what is left of it is ended."""
    made: list[Running] = []

    def begin(root: Path) -> Running:
        made.append(Running(root))
        return made[-1]

    yield begin
    for run in made:
        run.kill()


class Apart:
    """`dvc-ray repro` as on a cluster: the node's disk is a folder that the head never looks into."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self.events: list[RunEvent] = []
        self.executor: LocalExecutor | None = None

    def __call__(self, root: Path, selection: Selection | None = None, options: RunOptions | None = None) -> RunResult:
        self.events = []
        with stock.in_directory(root):
            executor = self.executor or LocalExecutor(apart=True)
            return api.repro(selection, options, listen=self.events.append, executor=executor)

    def exp_run(self, root: Path, experiment: Experiment) -> tuple[RunResult, Saved | None]:
        """`dvc-ray exp run`, as that."""
        self.events = []
        with stock.in_directory(root):
            executor = LocalExecutor(apart=True)
            return api.exp_run(experiment, listen=self.events.append, executor=executor)

    @property
    def text(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Notice))


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apart:
    monkeypatch.setenv("DVC_RAY_NODE_DIR", str(tmp_path / "node"))
    return Apart(tmp_path / "node")


@pytest.fixture
def cloud(s3: Server, tmp_path: Path) -> Callable[[Path, str], Path]:
    """Gives a project a remote of its own."""

    def give(root: Path, name: str) -> Path:
        url = f"s3://bucket/{tmp_path.name}/{name}"
        for arguments in (
            ("add", "-f", "-d", "cloud", url),
            ("modify", "cloud", "endpointurl", s3.url),
            ("modify", "--local", "cloud", "access_key_id", s3.owner.key),
            ("modify", "--local", "cloud", "secret_access_key", s3.owner.secret),
        ):
            assert stock.dvc(root, "remote", *arguments) == 0
        return root

    return give
