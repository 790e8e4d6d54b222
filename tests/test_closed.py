"""A local Ray is its user's: no other user of the machine gets in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dvc_ray.executors.ray import closed
from tests.conftest import Start
from tests.test_run import Make, one

ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'')"
DRIVER = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 7).options(num_cpus=0).remote()))"
LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


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


def listens(process: psutil.Process) -> set[str]:
    """Where a process can be reached; nowhere, if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found: Any = process.net_connections("inet")
        return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
    return set()


def as_nobody(command: str) -> str:
    """What another user of the machine is told."""
    who = ("--reuid=65534", "--regid=65534", "--clear-groups")
    return subprocess.run(["setpriv", *who, "bash", "-c", command], capture_output=True, text=True, check=False).stderr


def test_only_its_user_gets_in(project: Make, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, go = tmp_path / "home", tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.1; done"
    shown = 'echo "reached $RAY_ADDRESS with $RAY_AUTH_MODE $RAY_AUTH_TOKEN"'
    root = project({"dvc.yaml": one(f"python -c '{DRIVER}' && {shown} && {wait}; echo > out.txt"), "in.txt": ""})
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    run = start(root)
    _, address, _, mode, token = run.wait_for("reached ").split()

    assert mode == "token"
    assert ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token).returncode == 0
    for environ in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}):
        refused = ask(address, **environ)
        assert refused.returncode != 0
        assert "InvalidAuthToken" in refused.stderr
    assert not (home / ".ray").exists()  # where Ray would put one for all to read

    (directory,) = {path.parent for path in run.ray_dirs()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    if os.geteuid() == 0:  # who can be somebody else
        for path in ("", "ray", "ray/session_latest/sockets"):
            assert "Permission denied" in as_nobody(f"touch {directory}/{path}/planted")
            assert "Permission denied" in as_nobody(f"ls {directory}/{path}")
    found = {place for each in (psutil.Process(run.process.pid), *run.family) for place in listens(each)}
    assert found
    assert found <= LOOPBACK
    go.touch()
    assert run.finish()[0] == 0


ASK_WHAT_IS_SET = """
import json, os
from dvc_ray.executors.ray import closed

put_back = closed.close_to_others()
found = {name: os.environ.get(name) for name in closed.VARIABLES}
put_back()
print(json.dumps([found, {name: os.environ.get(name) for name in closed.VARIABLES}]))
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
    others = {name: text for name, text in os.environ.items() if name not in closed.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", ASK_WHAT_IS_SET],
        env={**others, "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, str | None]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("modes", "own"), [((0o755, 0o644), True), ((0o755, 0o600), False), ((0o700, 0o644), False)])
def test_a_token_that_others_can_read_is_not_used(home: Path, modes: tuple[int, int], *, own: bool) -> None:
    file = home / ".ray/auth_token"
    file.write_text("t" * 64)
    for path, mode in zip((file.parent, file), modes, strict=True):
        path.chmod(mode)
    there, afterwards = what_is_set(home)
    assert bool(there[closed.TOKEN]) is own
    assert there[closed.AUTH_MODE] == "token"
    assert set(afterwards.values()) == {None}


def test_what_the_user_has_said_is_left_as_it_is(home: Path) -> None:
    said = {closed.AUTH_MODE: "disabled", closed.ON_LOOPBACK: "1"}
    for found in what_is_set(home, **said):
        assert found == {**dict.fromkeys(closed.VARIABLES), **said}
