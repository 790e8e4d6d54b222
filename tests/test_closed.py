"""A local Ray is its user's: no other user of the machine gets in."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvc_ray.executors.ray import tokens
from tests.helpers.needs import need
from tests.helpers.projects import Make, one
from tests.helpers.runs import Start

ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'')"
DRIVER = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 7).options(num_cpus=0).remote()))"


def ask(address: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Ask Ray's control service, which any client has to begin with, as somebody who has these variables."""
    others = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", ASK, address],
        env={**others, "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def as_nobody(command: str) -> str:
    """What another user of the machine is told."""
    need("setpriv")
    who = ("--reuid=65534", "--regid=65534", "--clear-groups")
    return subprocess.run(["setpriv", *who, "bash", "-c", command], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("start", ["ray"], indirect=True)
def test_only_its_user_gets_in(project: Make, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, go = tmp_path / "home", tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.1; done"
    shown = 'echo "reached $RAY_ADDRESS with $RAY_AUTH_MODE :$RAY_AUTH_TOKEN:"'
    root = project({"dvc.yaml": one(f"python -c '{DRIVER}' && {shown} && {wait}; echo > out.txt"), "in.txt": ""})
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    run = start(root)
    _, address, _, mode, more = run.wait_for("reached ").split()

    assert (mode, more) == ("token", "::")  # a command's environment is the caller's
    token = (home / ".ray/auth_token").read_text()
    assert stat.S_IMODE((home / ".ray/auth_token").stat().st_mode) == 0o600
    assert ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token).returncode == 0
    for environ in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}):
        refused = ask(address, **environ)
        assert refused.returncode != 0
        assert "InvalidAuthToken" in refused.stderr
    (directory,) = {path.parent for path in run.ray_dirs()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    if os.geteuid() == 0:  # who can be somebody else
        for path in ("", "ray", "ray/session_latest/sockets"):
            assert "Permission denied" in as_nobody(f"touch {directory}/{path}/planted")
            assert "Permission denied" in as_nobody(f"ls {directory}/{path}")
    go.touch()
    assert run.finish()[0] == 0


ASK_WHAT_IS_SET = """
import json, os
from dvc_ray.executors.ray import tokens

put_back = tokens.close_to_others()
found = {name: os.environ.get(name) for name in tokens.VARIABLES}
put_back()
print(json.dumps([found, {name: os.environ.get(name) for name in tokens.VARIABLES}]))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """One that others may look into, as `tmp_path` is not."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(0o755)
    (made / ".ray").mkdir()
    yield made
    shutil.rmtree(made)


def what_is_set(home: Path, **environ: str) -> list[dict[str, str | None]]:
    """What of Ray's is in the environment while a local Ray is there, and afterwards."""
    others = {name: text for name, text in os.environ.items() if name not in tokens.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", ASK_WHAT_IS_SET],
        env={**others, "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, str | None]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_the_user_s_own_token_is_left_as_it_is(home: Path, mode: int) -> None:
    file = home / ".ray/auth_token"
    file.write_text("t" * 64)
    file.chmod(mode)
    there, afterwards = what_is_set(home)
    assert there == {**dict.fromkeys(tokens.VARIABLES), tokens.AUTH_MODE: "token"}
    assert set(afterwards.values()) == {None}
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("t" * 64, mode)


def test_a_home_that_nobody_can_write_to(home: Path) -> None:
    shutil.rmtree(home / ".ray")
    (home / ".ray").touch()
    there, afterwards = what_is_set(home)
    assert len(there[tokens.TOKEN] or "") == 64
    assert set(afterwards.values()) == {None}


def test_what_the_user_has_said_is_left_as_it_is(home: Path) -> None:
    said = {tokens.AUTH_MODE: "disabled"}
    for found in what_is_set(home, **said):
        assert found == {**dict.fromkeys(tokens.VARIABLES), **said}
    assert not list((home / ".ray").iterdir())
