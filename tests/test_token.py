"""A cluster that asks for a token, and one that does not, joined by a user who has one in a file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvc_ray.executors.ray.local_ray import start_janitor
from tests.helpers.projects import Make, one
from tests.helpers.runs import Cli

pytestmark = pytest.mark.full
NOT_SAID = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Starts a head that asks for a token or not; its address."""
    for name in NOT_SAID:
        monkeypatch.delenv(name, raising=False)
    janitors = []

    def begin(mode: str) -> str:
        directory = tempfile.mkdtemp(prefix="dvc-ray-", dir="/tmp")
        janitors.append(start_janitor(directory))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ray = shutil.which("ray") or str(Path(sys.executable).with_name("ray"))
        subprocess.run(
            [
                ray,
                "start",
                "--head",
                f"--port={port}",
                "--num-cpus=2",
                "--include-dashboard=false",
                "--temp-dir",
                directory,
            ],
            env={**os.environ, "RAY_AUTH_MODE": mode, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            check=True,
        )
        return f"127.0.0.1:{port}"

    yield begin
    for janitor in janitors:
        janitor.communicate()


@pytest.mark.parametrize("mode", ["token", "disabled"])
@pytest.mark.parametrize("named", [False, True])
def test_the_file_alone_does(
    project: Make, cli: Cli, head: Callable[[str], str], tmp_path: Path, mode: str, *, named: bool
) -> None:
    home = tmp_path / "home"
    file = home / ("mine" if named else ".ray/auth_token")
    file.parent.mkdir(parents=True)
    file.write_text("t" * 40)
    variables = {"RAY_AUTH_TOKEN_PATH": str(file)} if named else {}
    # A stage's own driver is let in, too. Made first: this home has no settings of Git.
    root = project({"dvc.yaml": one("python -c 'import ray; ray.init()' && echo > out.txt"), "in.txt": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name, text in variables.items():
            patch.setenv(name, text)
        address = head(mode)
        done = cli(root, "repro", "--address", address, env={"RAY_USAGE_STATS_ENABLED": "0"})
    assert done.returncode == 0, done.stderr + done.stdout


def test_without_a_token_the_message_says_so(
    project: Make, cli: Cli, head: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", "t" * 40)
        address = head("token")
    root = project({"dvc.yaml": one("echo > out.txt"), "in.txt": ""})
    done = cli(root, "repro", "--address", address, env={"HOME": str(tmp_path / "nobody")})
    assert done.returncode == 255
    assert "If it asks for a token" in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr
