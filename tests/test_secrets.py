"""Planted secrets, looked for in all that a run prints, keeps, sends and leaves; without Ray and without hosts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.command import Command
from dvc_ray.errors import ConfigError, DvcRayError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.live.remote import Attempt
from dvc_ray.redact import named
from dvc_ray.repo import Request
from dvc_ray.repo.dvc.workspace_config import without_secrets
from dvc_ray.repo.remote.remotes import open_remote
from dvc_ray.runs.results import RemoteResults
from dvc_ray.runs.retention import old_runs
from dvc_ray.settings.sources import resolve
from dvc_ray.values import wire
from dvc_ray.values.run import Experiment, RunRequest
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Remote, RemoteData, StageTask
from tests.helpers import stock
from tests.helpers.projects import Make, one, twin
from tests.helpers.runs import Apart, Cli, Locally
from tests.helpers.seaweed import Server

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
        apart(root, RunRequest())
    assert CANARY not in repr(caught.value) + str(caught.value)
    assert not left(root)


def test_no_value_shows_what_it_carries() -> None:
    pairs, names = (("TOKEN", CANARY),), {"TOKEN": CANARY}
    remote = Remote(name="r", url=f"ssh://{URL}/x", options=(("password", CANARY),))
    settings = StageSettings(env=pairs, runtime_env={"env_vars": names})
    asked = RunRequest(runtime_env={"env_vars": names})
    options = resolve(asked, None)
    data = RemoteData(remotes=(remote,), deps=(), store_env=pairs, store_credentials=CANARY, signing_key=CANARY)
    place: dict[str, Any] = {
        "tree": "/",
        "home": "/",
        "workspace": "/",
        "log": "",
        "kept": "",
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
        grace=1,
        data=data,
    )
    texts: dict[str, Any] = dict.fromkeys(("run_id", "workspace", "log", "kept", "git"), "")
    request = Request(
        **texts,
        attempt=1,
        env=names,
        run_env=names,
        settings=settings,
        options=options,
        signing_key=CANARY,
    )
    attempt = Attempt(
        node="n",
        run_id="1",
        name="one",
        project=".",
        fetcher="fetcher",
        remotes=({"password": CANARY},),
        variables=names,
        keys=CANARY,
    )
    command = Command(argv=["true"], cwd="/", env=names, log="", grace=1)
    for value in (task, request, attempt, command, asked, options):
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
    events = json.dumps([wire.encode_event(event) for event in locally.events])
    log = next((root / ".dvc/tmp/ray/runs").glob("*/logs/one.1.log")).read_text()
    kept = next((root / ".dvc/tmp/ray/runs").glob("*/events.jsonl")).read_text()
    for text in (log, events, kept, repr(locally.events), failed.error):
        assert CANARY not in text
        assert "canary-of-the-key" not in text
    assert (root / "out.txt").read_text() == CANARY, "files are the command's own"
    assert not left(root)


def test_nor_in_what_the_remote_keeps(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cloud(project({"dvc.yaml": SAYS}), "masked")
    declared(root, monkeypatch)
    monkeypatch.setattr(RemoteResults, "clear", lambda _: None)
    (failed,) = apart(root).failed
    assert "said *** plain" in failed.tail
    kept = ours(s3, root)
    assert any(b"said *** plain" in data for data in kept.values())
    assert [key for key in kept if "/results/" in key]
    for data in kept.values():
        assert s3.owner.secret.encode() not in data, "nor a key of the remote"
        assert CANARY.encode() not in data
        assert b"canary-of-the-key" not in data
    assert not left(root)
    files = [path for path in (root / ".dvc/tmp/ray").rglob("*") if path.is_file()]
    assert not [path for path in files if s3.owner.secret.encode() in path.read_bytes()]
    assert s3.owner.secret not in repr(apart.events)


def ours(s3: Server, root: Path) -> dict[str, bytes]:
    """What lies under .dvc-ray/ in the remote of a project, but for the results' own files."""
    url = next(line.split()[-1] for line in (root / ".dvc/config").read_text().splitlines() if "s3://" in line)
    client, prefix = s3.client(), url.removeprefix("s3://bucket/") + "/.dvc-ray/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key.removeprefix(prefix): client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}


SETTINGS = f"""# of the project
[core]
    remote = r
['remote "r"']
    url = https://me:{CANARY}@example.com/x
    password = {CANARY}-of-r  # mine
['remote "s3"']
\turl = s3://bucket/x
\tsecret_access_key={CANARY}
    access_key_id = {CANARY}
    region = eu-west-1
    credentialpath = /home/me/keys
[studio]
    token = '''{CANARY}
{CANARY}'''
    url = https://studio.example.com
['machine "m"']
    cloud = aws
    startup_script = {CANARY}
[db "d"]
    password = {CANARY}
"""
SHOWN = """# of the project
[core]
    remote = r
['remote "r"']
    url = https://example.com/x
['remote "s3"']
\turl = s3://bucket/x
    region = eu-west-1
    credentialpath = /home/me/keys
[studio]
    url = https://studio.example.com
['machine "m"']
[db "d"]
"""


def test_settings_without_secrets_are_as_long_and_otherwise_the_same() -> None:
    found = without_secrets(SETTINGS.encode())
    assert len(found) == len(SETTINGS)
    lines = [line.rstrip() for line in found.decode().splitlines()]
    note = "# withheld by dvc-ray"
    assert [line for line in lines if line and not note.startswith(line)] == [
        line for line in SHOWN.splitlines() if line != "#"
    ]
    assert without_secrets(found) == found
    plain = b"[core]\r\n  remote = r\n['remote \"r\"']\nurl = ssh://me@example.com/x, y"
    assert without_secrets(plain) == plain
    assert without_secrets(b"[core\nx = \xff") == b""


def test_all_options_of_a_remote_that_are_secret_are_withheld() -> None:
    """Of the DVC that is installed: a new one is looked at here."""
    from dvc.config_schema import REMOTE_SCHEMAS

    options = {str(option) for schema in REMOTE_SCHEMAS.values() for option in schema if isinstance(option, str)}
    odd = {option for option in options if named(option) or any(word in option for word in ("key", "auth", "cred"))}
    assert {option for option in odd if named(option)} == {
        *("access_key_id", "account_key", "bearer_token_command", "client_secret", "connection_string"),
        *("custom_auth_header", "gdrive_client_secret", "oss_key_id", "oss_key_secret", "passphrase", "password"),
        *("sas_token", "secret_access_key", "session_token", "sse_customer_key", "token"),
    }
    assert {option for option in odd if not named(option)} == {
        *("auth", "credentialpath", "exclude_environment_credential", "exclude_managed_identity_credential"),
        *("exclude_shared_token_cache_credential", "exclude_visual_studio_code_credential", "gss_auth", "key_path"),
        *("gdrive_user_credentials_file", "keyfile", "sse_kms_key_id"),
    }


def with_settings(root: Path) -> Path:
    """A tracked .dvc/config with secrets, older than Git's index."""
    config = root / ".dvc/config"
    secret = SETTINGS.replace("[core]\n    remote = r\n", "").replace('[db "d"]\n', "['db \"d\"']\n")
    config.write_text(config.read_text() + secret.replace("    cloud = aws\n", ""))
    stock.sh(root, "touch -d 2020-01-01 .dvc/config && git add -A && git commit -qm settings && git status")
    return config


LOOKS = (
    "cat .dvc/config > out.txt; git status --porcelain >> out.txt; dvc remote list >> out.txt;"
    " dvc remote add -q -f mine /nowhere"
)


def test_secrets_of_the_project_s_settings_are_in_no_workspace(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one(LOOKS), "in.txt": ""})
    config = with_settings(root)
    before = config.read_text()
    assert not locally(root).failed
    seen = (root / "out.txt").read_text()
    assert CANARY not in seen
    assert "M .dvc/config" not in seen, "for Git it is as it was"
    assert re.search(r"^s3\s+s3://bucket/x$", seen, re.MULTILINE), "DVC's command line works"
    assert config.read_text() == before, "what a stage writes there does not come home, and is named"
    assert ".dvc/config" in locally.warnings


def test_nor_on_another_machine(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    root = cloud(project({"dvc.yaml": one(LOOKS), "in.txt": ""}), "settings")
    config = with_settings(root)
    before = config.read_text()
    result = apart(root)
    assert not result.failed, result.failed
    stock.sh(root, "dvc pull -q")
    assert CANARY not in (root / "out.txt").read_text()
    assert "M .dvc/config" not in (root / "out.txt").read_text()
    assert not [path for path in (tmp_path / "node").rglob("*") if path.is_file() and CANARY in _text(path)]
    assert config.read_text() == before


def test_nor_when_git_sends_what_differs(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    root = cloud(project({"dvc.yaml": one("git log --oneline > out.txt"), "in.txt": ""}), "settings")
    config = with_settings(root)
    config.write_text(config.read_text() + "\n# edited\n")
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text() + "\n# edited, too\n")
    result = apart(root)
    assert not result.failed, result.failed
    stock.sh(root, "dvc pull -q")
    assert "settings" in (root / "out.txt").read_text()
    packs = list((tmp_path / "node").rglob("*.pack"))
    assert packs
    indexes = [stock.sh(root, f"git show-index < '{pack.with_suffix('.idx')}'") for pack in packs]
    names = {line.split()[1] for text in indexes for line in text.splitlines()}
    kinds = {name: stock.sh(root, f"git cat-file -t {name}").strip() for name in names}
    blobs = [stock.sh(root, f"git cat-file -p {name}") for name, kind in kinds.items() if kind == "blob"]
    assert any("stages:" in blob for blob in blobs), "other contents go"
    assert not any(CANARY in blob for blob in blobs)


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("how", ["dep", "include"])
def test_settings_that_are_named_are_given_whole_and_hash_as_stock(
    project: Make, locally: Locally, apart: Apart, cloud: Callable[[Path, str], Path], how: str
) -> None:
    command = "grep -c canary .dvc/config > out.txt"
    text = one(command).replace("in.txt", ".dvc/config") if how == "dep" else one(command, "{include: [.dvc/config]}")
    other = "\n  other: {cmd: grep -c canary .dvc/config > other.txt || true, deps: [in.txt], outs: [other.txt]}\n"
    root = project({"dvc.yaml": text + other, "in.txt": ""})
    with_settings(cloud(root, how))
    copy = twin(root)
    assert not locally(root).failed
    assert (root / "out.txt").read_text() != "0\n"
    assert (root / "other.txt").read_text() == "0\n"
    assert stock.status(root) == {}, "stock DVC finds the hash that it finds itself"
    assert not apart(copy).failed
    stock.sh(copy, "dvc pull -q")
    assert (copy / "out.txt").read_text() == (root / "out.txt").read_text()
    assert (copy / "other.txt").read_text() == "0\n"
    assert (copy / "dvc.lock").read_text() == (root / "dvc.lock").read_text()


def test_a_folder_of_dvc_s_own_that_is_named_goes_to_no_machine_whole(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path]
) -> None:
    root = cloud(project({"dvc.yaml": one("ls -A .dvc > out.txt", "{include: [.dvc]}"), "in.txt": ""}), "whole")
    local = root / ".dvc/config.local"
    local.write_text(local.read_text() + f"# {CANARY}\n")
    (root / ".dvc/tmp/mine").write_text(CANARY)
    (root / ".dvc/ray.local.toml").write_text(f"# {CANARY}\n")
    sent: list[str] = []

    class Watched(LocalExecutor):
        def submit(self, task, settings, bundles=()):
            sent.extend(file.path for pack in bundles for file in pack.files if CANARY.encode() in file.data)
            super().submit(task, settings, bundles)

    apart.executor = Watched(apart=True)
    assert not apart(root).failed
    assert sent == []


READS = """
stages:
  one: {cmd: ls -A . sub > out.txt, deps: [in.txt], outs: [out.txt]}
  two: {cmd: cat .env > two.txt, deps: [in.txt], outs: [two.txt], meta: {ray: {include: [.env]}}}
"""


def test_untracked_files_that_are_called_like_secrets_stay(
    project: Make, apart: Apart, locally: Locally, cloud: Callable[[Path, str], Path]
) -> None:
    root = cloud(project({"dvc.yaml": READS, "in.txt": "", "sub/tracked.pem": ""}), "untracked")
    for path in (".env", "deploy.pem", "sub/.netrc", "new.py", ".env.example"):
        (root / path).write_text(f"{path}\n")
    result = apart(root)
    assert not result.failed, result.failed
    stock.sh(root, "dvc pull -q")
    assert (root / "two.txt").read_text() == ".env\n"
    seen = (root / "out.txt").read_text().split()
    assert {"tracked.pem", "new.py", ".env.example"} <= {*seen}
    assert not {".env", "deploy.pem", ".netrc"} & {*seen}
    assert "called like secrets: 'deploy.pem', 'sub/.netrc'." in apart.text
    assert "include: [deploy.pem]" in apart.text
    assert "go to the machines that stages run on, as code: '.env.example', 'new.py'" in apart.text
    (root / "in.txt").write_text("again\n")
    assert not apart(root).failed
    assert "Not sent to other machines" in apart.text
    assert "as code" not in apart.text, "once a project"
    (root / "in.txt").write_text("here\n")
    assert not locally(root).failed
    assert {".env", "deploy.pem", ".netrc"} <= {*(root / "out.txt").read_text().split()}, "on one machine all is there"


def test_an_experiment_sends_no_secrets_either(project: Make, apart: Apart, cloud: Callable[[Path, str], Path]) -> None:
    text = READS.replace("outs: [out.txt]", "params: [p], outs: [out.txt: {cache: false}]")
    root = cloud(project({"dvc.yaml": text, "in.txt": "", "params.yaml": "p: 1\n", "sub/x": ""}), "exp")
    stock.sh(root, "git add -A && git commit -qm remote")
    for path in (".env", "deploy.pem"):
        (root / path).write_text(f"{path}\n")
    result, saved = apart.exp_run(root, Experiment(params=("p=2",)))
    assert saved, result.failed
    assert "deploy.pem" not in (root / "out.txt").read_text()
    assert "called like secrets: 'deploy.pem'" in apart.text


def test_which_logs_are_old() -> None:
    names = [f"20200101-0000{number:02}-me-00aa" for number in range(30)]
    others = ["20200101-000000-you_2-00aa", "20200101-000000-00aa", "mine", "20200101-000000-me-zzzz"]
    now = time.mktime((2020, 1, 9, 12, 0, 0, 0, 0, -1))
    assert old_runs([*others, *names], now) == sorted(names[:10], reverse=True)
    assert old_runs(names, now - 3 * 86400) == [], "a week"


def test_logs_of_old_runs_go_from_the_remote(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], s3: Server
) -> None:
    root = cloud(project({"dvc.yaml": one("echo said; cp in.txt out.txt"), "in.txt": "in\n"}), "retention")
    url = next(line.split()[-1] for line in (root / ".dvc/config").read_text().splitlines() if "s3://" in line)
    prefix, client = url.removeprefix("s3://bucket/") + "/.dvc-ray", s3.client()
    names = [f"20200101-0000{number:02}-me-00aa" for number in range(22)]
    keys = [f"runs/{name}/logs/one.1.log" for name in names]
    more = [f"runs/{names[0]}/storage/model", f"runs/{names[0]}/results/one.1", "runs/mine/logs/x"]
    aside = [f"unreadable/runs/{names[0]}/results/one.1", "unreadable/runs/mine/x"]
    for key in (*keys, *more, *aside):
        client.put_object(Bucket="bucket", Key=f"{prefix}/{key}", Body=b"old")
    policy = {"Effect": "Deny", "Principal": "*", "Action": ["s3:DeleteObject"], "Resource": ["arn:aws:s3:::bucket/*"]}
    client.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
    try:
        assert not apart(root).failed
        assert "lifecycle rule" in apart.text
        assert {*keys, *more, *aside} <= {*ours(s3, root)}
        (root / "in.txt").write_text("again\n")
        assert not apart(root).failed
        assert "lifecycle rule" not in apart.text, "once"
    finally:
        client.delete_bucket_policy(Bucket="bucket")
    (root / "in.txt").write_text("once more\n")
    assert not apart(root).failed
    left = {*ours(s3, root)}
    assert not {*keys[:2], aside[0]} & left
    assert {*keys[2:], *more, aside[1]} <= left
    assert len([key for key in left if key.endswith("/logs/one.1.log")]) == 20 + 3, "and those of this week"


def test_folders_of_a_remote_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "store/runs/one/logs").mkdir(parents=True)
    (tmp_path / "store/runs/file").touch()
    store = open_remote(Remote(name="r", url=f"{tmp_path}/store"))
    assert list(store.folders("runs")) == ["one"]
    assert list(store.folders("nothing")) == []


def test_nor_in_the_error_of_a_runtime_env_that_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_RAY_RUNTIME_ENV", f'{{"env_vars": {{"TOKEN": "{CANARY}"')
    with pytest.raises(ConfigError, match="DVC_RAY_RUNTIME_ENV") as caught:
        resolve(RunRequest(), None)
    assert CANARY not in str(caught.value)
