"""Planted secrets, looked for in all that a run prints, keeps, sends and leaves; without Ray and without hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvc_ray.errors import DvcRayError
from dvc_ray.values.run import RunOptions
from tests.conftest import Apart, Cli
from tests.test_run import Make, one

CANARY = "canary-7d2a90"


def left(root: Path) -> dict[str, str]:
    """Files of ours in a project that have the canary."""
    files = [path for path in (root / ".dvc/tmp/ray").rglob("*") if path.is_file()]
    return {str(path): "" for path in files if CANARY.encode() in path.read_bytes()}


URL = f"me:{CANARY}@127.0.0.1:1"
HTTP = f"{{path: 'http://{URL}/x?sig={CANARY}&v=1', etag: old}}"
GIT = f"{{path: data, repo: {{url: 'http://{URL}/it.git', rev_lock: {'0' * 40}}}}}"
FAILING = {
    "a dep by http": ("x.dvc", f"deps: [{HTTP}]\nouts: [{{path: x, md5: {'0' * 32}}}]\n"),
    "an import from Git": ("x.dvc", f"deps: [{GIT}]\nouts: [{{path: x, md5: {'0' * 32}}}]\n"),
    "a remote": (".dvc/config", f"[core]\nremote = r\n['remote \"r\"']\nurl = ssh://{URL}/x\n"),
    "a remote by http": (".dvc/config", f"[core]\nremote = r\n['remote \"r\"']\nurl = webdavs://{URL}/x\n"),
    "a command": ("dvc.yaml", one(f"echo > /dev/full # http://{URL}/x?token={CANARY}")),
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("flags", [["-v"], ["--json"], ["--dry", "--json"]], ids=" ".join)
def test_no_password_of_a_url_is_said(project: Make, cli: Cli, how: str, flags: list[str]) -> None:
    name, text = FAILING[how]
    root = project({"dvc.yaml": one("cp in.txt out.txt"), "in.txt": ""})
    (root / name).write_text(text)
    pull = ["--pull"] if "remote" in how and "--dry" not in flags else []
    done = cli(root, "repro", "-P", *flags, *pull)
    said = done.stdout + done.stderr
    assert CANARY not in said, said
    assert not left(root)
    assert "--dry" in flags or pull or done.returncode


@pytest.mark.parametrize(
    "url", [f"ssh://{URL}/x", f"s3://KEY:{CANARY}@bucket/x", f"webdavs://{URL}/x", f"nothing://{URL}/x"]
)
def test_no_password_of_the_remote_is_said(
    project: Make, apart: Apart, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    root = project({"dvc.yaml": one("cp in.txt out.txt"), "in.txt": ""})
    (root / ".dvc/config").write_text(f"[core]\nremote = r\n['remote \"r\"']\nurl = {url}\n")
    with pytest.raises(DvcRayError) as caught:
        apart(root, options=RunOptions())
    assert CANARY not in repr(caught.value) + str(caught.value)
    assert not left(root)
