from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dvc_ray
from dvc_ray.live import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = str(Path(dvc_ray.__file__).parent.parent)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the caller of pytest has set must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("DVC_", "DVCLIVE_", "RAY_ADDRESS")):
            monkeypatch.delenv(name)
    session._own_storage.cache_clear()
    yield
    session._own_storage.cache_clear()


def clean_environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "RAY_", "GIT_"))}
    return {**kept, "PYTHONPATH": SOURCE, **variables}


@pytest.fixture(scope="session")
def environment() -> Callable[..., dict[str, str]]:
    return clean_environment


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """Ray's sockets need a short path, pytest's are too long."""
    folder = Path(tempfile.mkdtemp(prefix="dr", dir=tempfile.gettempdir()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(short_dir: Path) -> Iterator[dict[str, str]]:
    """Variables that let a program join the tests' Ray."""
    host = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "helpers/ray_host.py"), str(short_dir / "r")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
        text=True,
    )
    assert host.stdin is not None
    assert host.stdout is not None
    variables = json.loads(host.stdout.readline())
    yield variables
    host.stdin.close()
    host.wait(timeout=60)
    host.stdout.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Write files of a project, and return its root."""

    def write_files(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path / "project"

    return write_files


@pytest.fixture
def drive() -> Callable[..., Any]:
    """Run a stage's program as DVC would; what it prints last is JSON."""

    def run(cwd: Path, script: str, **variables: str) -> Any:
        done = subprocess.run(
            [sys.executable, *script.split()],
            cwd=cwd,
            env=clean_environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def git() -> Callable[..., str]:
    def run(cwd: Path, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout

    return run
