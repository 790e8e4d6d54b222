"""Planted secrets, looked for in all that a run prints, keeps, sends and leaves; without Ray and without hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvc_ray import config
from dvc_ray.command import Command
from dvc_ray.errors import DvcRayError
from dvc_ray.live.away import Attempt
from dvc_ray.repo import Request
from dvc_ray.values.run import RunOptions
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Elsewhere, Remote, StageTask
from tests.conftest import Apart, Cli
from tests.test_run import Make, one

CANARY = "canary-7d2a90"


def left(root: Path) -> dict[str, str]:
    """Files of ours in a project that have the canary."""
    files = [path for path in (root / ".dvc/tmp/ray").rglob("*") if path.is_file()]
    return {str(path): "" for path in files if CANARY.encode() in path.read_bytes()}


URL = f"me:{CANARY}@127.0.0.1:1"
OUT = "outs: [{path: out.txt, md5: abababababababababababababababab}]"
NAMING = {
    "http.dvc": f"deps: [{{path: 'http://{URL}/x?sig={CANARY}&v=1', etag: old}}]\n"
    + OUT.replace("out.txt", "http.txt"),
    "git.dvc": f"deps: [{{path: x, repo: {{url: 'http://{URL}/it.git', rev_lock: {'ab' * 20}}}}}]\n"
    + OUT.replace("out.txt", "git.txt"),
    "ssh.dvc": f"deps: [{{path: 'ssh://{URL}/x'}}]\n" + OUT.replace("out.txt", "ssh.txt"),
    "dvc.yaml": f"stages: {{one: {{cmd: 'curl http://{URL}/x?token={CANARY}', outs: [one.txt]}}}}\n",
    ".dvc/config": f"[core]\nremote = r\n['remote \"r\"']\nurl = webdav://{URL}/x\n",
}


@pytest.mark.parametrize("flags", ["--dry", "--dry --json", "-v -k --json", "-v -k --pull"])
def test_no_password_of_a_url_is_said(project: Make, cli: Cli, flags: str) -> None:
    """By a plan, by errors of DVC's, by its warnings, by where an error comes from."""
    root = project({"in.txt": ""})
    for name, text in NAMING.items():
        (root / name).write_text(text)
    dry = "--dry" in flags
    targets = [] if dry else ["http.dvc", "git.dvc", "ssh.dvc"]  # without Ray
    done = cli(root, "repro", *flags.split(), *(targets or ["-P"]))
    said = done.stdout + done.stderr
    assert CANARY not in said
    assert not left(root)
    assert dry or done.returncode, said
    assert "--pull" in flags or "127.0.0.1:1/" in said, "it speaks of them"


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


def test_no_value_shows_what_it_carries() -> None:
    pairs, names = (("TOKEN", CANARY),), {"TOKEN": CANARY}
    remote = Remote(name="r", url=f"ssh://{URL}/x", options=(("password", CANARY),))
    settings = StageSettings(env=pairs, runtime_env={"env_vars": names})
    options = RunOptions(runtime_env={"env_vars": names})
    elsewhere = Elsewhere(remotes=(remote,), deps=(), store_env=pairs, store_credentials=CANARY, signing_key=CANARY)
    place = {"tree": "/", "home": "/", "workspace": "/", "log": "", "kept": "", "state_dir": "", "prefix": ""}
    task = StageTask(
        **place,
        run_id="1",
        address="one",
        attempt=1,
        name="one",
        dvcfile="dvc.yaml",
        definition={},
        project=".",
        cwd=".",
        code=(),
        links=(),
        deps=(),
        copies=(),
        outs=(),
        config={},
        env=pairs,
        elsewhere=elsewhere,
    )
    request = Request(
        **{name: "" for name in ("run_id", "workspace", "log", "kept", "git")},
        attempt=1,
        env=names,
        settings=settings,
        options=options,
        grace=1,
        signing_key=CANARY,
    )
    attempt = Attempt(
        node="n",
        run_id="1",
        name="one",
        project=".",
        remotes=({"password": CANARY},),
        variables=names,
        keys=CANARY,
    )
    command = Command(argv=["true"], cwd="/", env=names, log="")
    for value in (task, request, attempt, command, config.Config(runtime_env={"env_vars": names})):
        assert CANARY not in repr(value)
