"""Planted secrets, looked for in all that a run prints, keeps, sends and leaves; without Ray and without hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvc_ray import config
from dvc_ray.cli.output import events as events_json
from dvc_ray.command import Command
from dvc_ray.errors import DvcRayError
from dvc_ray.live.away import Attempt
from dvc_ray.repo import Request
from dvc_ray.values.run import RunOptions
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Elsewhere, Remote, StageTask
from tests.conftest import Apart, Cli, Locally
from tests.seaweed import Server
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
    place: dict[str, Any] = {
        "tree": "/",
        "home": "/",
        "workspace": "/",
        "log": "",
        "kept": "",
        "state_dir": "",
        "prefix": "",
    }
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
    texts: dict[str, Any] = dict.fromkeys(("run_id", "workspace", "log", "kept", "git"), "")
    request = Request(
        **texts,
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


SAYS = """
stages:
  one:
    cmd: >-
      printf '%s' "$TOKEN" | cut -c1-9; printf '%s\\n' "$KEY"; echo "said $TOKEN $PLAIN" >&2;
      python -c "import os, json; print(json.dumps(os.environ['KEY']))"; printf '%s' "$TOKEN" > out.txt; exit 3
    outs: [out.txt: {cache: false}]
"""
KEY = '-----BEGIN KEY-----\n"canary-of-the-key"\n-----END KEY-----'


def declared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc/ray.toml").write_text('secrets = ["TOKEN", "KEY"]\n')
    for name, text in {"TOKEN": CANARY, "KEY": KEY, "PLAIN": "plain"}.items():
        monkeypatch.setenv(name, text)


def test_values_of_secrets_are_in_no_output(project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project({"dvc.yaml": SAYS})
    declared(root, monkeypatch)
    (failed,) = locally(root).failed
    assert failed.tail[0] == CANARY[:9], "only the whole is a secret"
    assert "said *** plain" in failed.tail
    events = "\n".join(map(events_json.dumps, locally.events))
    log = next((root / ".dvc/tmp/ray/runs").glob("*/logs/one.1.log")).read_text()
    for text in (log, events, repr(locally.events), failed.error):
        assert CANARY not in text
        assert "canary-of-the-key" not in text
    assert (root / "out.txt").read_text() == CANARY, "files are the command's own"
    assert not left(root)


def test_nor_in_what_the_remote_keeps(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cloud(project({"dvc.yaml": SAYS}), "masked")
    declared(root, monkeypatch)
    for name in ("forget_results", "nothing_in_remote"):
        monkeypatch.setattr(f"dvc_ray.driver.resume.{name}", lambda *_: None)
    (failed,) = apart(root).failed
    assert "said *** plain" in failed.tail
    kept = ours(s3, root)
    assert any(b"said *** plain" in data for data in kept.values())
    assert [key for key in kept if "/results/" in key]
    for data in kept.values():
        assert CANARY.encode() not in data
        assert b"canary-of-the-key" not in data
    assert not left(root)


def ours(s3: Server, root: Path) -> dict[str, bytes]:
    """What lies under .dvc-ray/ in the remote of a project, but for the results' own files."""
    url = next(line.split()[-1] for line in (root / ".dvc/config").read_text().splitlines() if "s3://" in line)
    client, prefix = s3.client(), url.removeprefix("s3://bucket/") + "/.dvc-ray/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key.removeprefix(prefix): client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}
