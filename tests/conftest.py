"""Fixtures of all tests: real projects, real DVC, one shared Ray."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import ray

from dvc_ray.executors.ray import RayExecutor
from dvc_ray.values.stage import StageSettings
from tests.helpers import spreading, stock
from tests.helpers.needs import need
from tests.helpers.running import Running
from tests.helpers.runs import Apart, Cli, Here, Locally, Repro, Start
from tests.helpers.seaweed import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--third",
        choices=("auto", "0", "1", "2"),
        help="of what is marked full: all that needs hosts, and a third of the rest; auto: by the commit's hash",
    )


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get("third")  # one and the same in all processes of xdist
    if config.getoption("--third") == "auto":
        config.option.third = given or str(spreading.third_of_commit())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["third"] = node.config.option.third


def pytest_report_header(config: pytest.Config) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in ("dvc", "dvclive", "ray"))
    chosen = config.getoption("--third")
    return [versions, *([f"third {chosen} of the tests that are marked full"] if chosen else [])]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chosen := config.getoption("--third"):
        kept = [item for item in items if _is_chosen(item, int(chosen))]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: spreading.turn(item.nodeid))


def _is_chosen(item: pytest.Item, chosen: int) -> bool:
    is_full = item.get_closest_marker("full") is not None
    return is_full and spreading.is_chosen(item.nodeid, chosen, long=item.get_closest_marker("long") is not None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread tests over processes by `spreading.scope`. (Marks for that, ``xdist_group``, are seen by ``--dist
    loadgroup`` only, which knows nothing of turns.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return spreading.scope(nodeid)

    config.option.loadscopereorder = False  # by the number of tests; ours are in order
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
    executor.cluster.start(4)
    with contextlib.closing(executor):
        yield executor


@pytest.fixture
def repro(shared_ray: RayExecutor) -> Repro:
    return Repro(shared_ray)


@pytest.fixture
def on_shared_ray(shared_ray: RayExecutor) -> dict[str, str]:
    """Variables with which a process of its own joins the tests' Ray: to start one takes seconds of a core."""
    shared_ray.cluster.check("any stage", StageSettings())  # returns when Ray is there
    return {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}


@pytest.fixture
def locally() -> Locally:
    return Locally()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("obstore", reason="not installed: pip install 'dvc-ray[s3]'")
    need("setpriv")
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


@pytest.fixture
def cli() -> Cli:
    return Cli()


@pytest.fixture
def here() -> Here:
    return Here()


ON_RAY = pytest.param("ray", marks=pytest.mark.full)


@pytest.fixture(params=["auto", ON_RAY])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts `dvc-ray repro` in a process of its own, in each way to run stages here; what is left of it is ended."""
    monkeypatch.setenv("DVC_RAY_LOCAL", request.param)
    made: list[Running] = []

    def begin(root: Path) -> Running:
        made.append(Running(root))
        return made[-1]

    yield begin
    for run in made:
        run.kill()


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
