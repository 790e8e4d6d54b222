"""A node's folder: bounded, shared by processes, nothing in use removed."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvc_ray.driver.shared_disk import SharedDisk
from dvc_ray.errors import StorageError
from dvc_ray.node.bundles import pack, unpack
from dvc_ray.node.cache import Node
from dvc_ray.node.eviction import Pin, at_work, evict
from dvc_ray.runs.results import codec
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import BundledFile, Changed, FileBundle, RemoteData, StageResult, Stored
from tests.helpers.tasks import task

HOUR = 3600
KEY = "0f" * 32


def put(node: Node, oid: str, size: int, used: float) -> Path:
    path = Path(node.cache, "files", "md5", oid[:2], oid[2:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (used, 1))
    return path


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    node, now = Node(tmp_path), time.time()
    old, middle, fresh = (put(node, f"{n:032x}", 100, now - n * HOUR) for n in (3, 2, 1))
    assert evict(tmp_path, node.cache, 250, now) == 100
    assert (old.exists(), middle.exists(), fresh.exists()) == (False, True, True)
    assert evict(tmp_path, node.cache, 250, now) == 0


def test_nothing_in_use_is_removed(tmp_path: Path) -> None:
    node, now = Node(tmp_path), time.time()
    linked, wanted, just, other = (put(node, f"{n:032x}", 100, now - n * HOUR) for n in (5, 4, 0, 2))
    os.link(linked, tmp_path / "in-a-workspace")
    pin = Pin(tmp_path)
    pin.add([f"{4:032x}"])
    assert evict(tmp_path, node.cache, 0, now) == 100
    assert not other.exists()
    assert linked.exists()
    assert wanted.exists()
    assert just.exists()
    pin.close()
    assert evict(tmp_path, node.cache, 0, now) == 100
    assert not wanted.exists()


def test_what_a_dead_process_wanted_is_not_kept(tmp_path: Path) -> None:
    node, now = Node(tmp_path), time.time()
    wanted = put(node, f"{4:032x}", 100, now - HOUR)
    program = (
        "import os, sys; from pathlib import Path; from dvc_ray.node.eviction import Pin\n"
        f"Pin(Path(sys.argv[1])).add(['{4:032x}']); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert evict(tmp_path, node.cache, 0, now) == 100
    assert not wanted.exists()
    assert list((tmp_path / "pins").iterdir()) == []


def test_runs_that_have_left_are_removed(tmp_path: Path) -> None:
    ours, theirs, dead = (tmp_path / "work" / name for name in ("ours", "theirs", "dead"))
    for folder in (theirs, dead):
        folder.mkdir(parents=True)
        (folder / ".in-use").touch()
        os.utime(folder / ".in-use", (1, 1))
    with at_work(theirs):
        os.utime(theirs / ".in-use", (1, 1))
        with at_work(ours):
            assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["ours", "theirs"]


def test_a_snapshot_is_as_the_tree_it_was_taken_from(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep/empty").mkdir(parents=True)
    (tree / "a.py").write_text("a")
    (tree / "tool").write_text("t")
    (tree / "tool").chmod(0o755)
    (tree / "link").symlink_to("a.py")
    os.utime(tree / "a.py", ns=(1_500_000_000, 1_500_000_000))
    bundle = pack(str(tree), ["a.py", "tool", "link", "deep", "missing"])
    node = Node(tmp_path / "node")
    made = Path(node.tree(bundle))
    assert node.tree(bundle) == str(made), "made once"
    assert (made / "a.py").read_text() == "a"
    assert (made / "a.py").stat().st_mtime_ns == 1_500_000_000
    assert os.access(made / "tool", os.X_OK)
    assert os.readlink(made / "link") == "a.py"
    assert (made / "deep/empty").is_dir()
    unpack(bundle, str(tmp_path / "some"), ["tool"])
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["tool"]


def test_an_object_that_names_files_outside_its_directory_is_refused(tmp_path: Path) -> None:
    from dvc_ray.errors import StorageError

    node = Node(tmp_path)
    oid = f"{1:032x}.dir"
    path = put(node, oid, 0, 0)
    path.write_text('[{"md5": "00", "relpath": "../../outside"}]')
    with pytest.raises(StorageError, match="names a file outside its directory"):
        list(node.link(Stored(path="data", oid=oid, remote="r"), str(tmp_path / "workspace")))


def test_a_result_is_kept_without_secrets_and_reads_as_it_was() -> None:
    bundle = FileBundle(id="p", files=(BundledFile(path="a", mode=0o100644, mtime_ns=5, data=b"\xff\x00"),))
    result = StageResult(
        address="x",
        attempt=2,
        state=StageState.DONE,
        node="n",
        seconds=1.5,
        workspace="w",
        entry={"cmd": "c"},
        changed=(Changed(path="a", base=(1, 2)),),
        returned_files=bundle,
    )
    body = codec.encode(task(), result)
    assert b"secret-value" not in body
    kept = RemoteData(remotes=(), deps=(), bring=("a",))
    assert codec.decode(body) == (replace(task(), env=(), code=(), config={}, log="", grace=0, data=kept), result)
    signed = codec.sign(body, KEY)
    assert codec.signed(signed, KEY) == body
    assert codec.signed(signed, "") is None
    assert codec.signed(signed, "ff" * 32) is None, "of another run"
    assert codec.signed(signed.replace(b'"address": "x"', b'"address": "y"'), KEY) is None


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1.5, None, True]},
        {1: "a", 2.5: "b", None: "c", False: "d"},
        {"day": dt.date(2020, 1, 2), "moment": dt.datetime(2020, 1, 2, 3, 4, 5)},  # noqa: DTZ001  YAML's
        {"nan": {"x": float("inf")}, "bytes": b"\xff", "set": {"a"}},
        {"yaml": "a: 1"},
        {"text": "yes", "number": "012", "date": "2020-01-02", "tab": "\t\x85\u2028\ud800"},
    ],
)
def test_an_entry_of_dvc_lock_is_kept_as_it_is(value: dict[Any, Any]) -> None:
    result = StageResult(
        address="x", attempt=2, state=StageState.DONE, node="n", seconds=1.5, workspace="w", entry={"params": value}
    )
    found = codec.decode(codec.encode(replace(task(), definition=value), result))
    assert found is not None
    assert found[0].definition == value
    assert found[1].entry == {"params": value}


def test_a_result_of_the_version_before_is_read() -> None:
    """Of 0.1, which kept all of a task's fields and `elsewhere` for what is `data` now."""
    result = StageResult(address="x", attempt=2, state=StageState.DONE, node="n", seconds=1.5, workspace="w")
    body = json.loads(codec.encode(task(), result))
    body["version"] = 2
    body["task"] |= {"elsewhere": None, "state_dir": "x", "env": [], "surroundings": None, "git": {"places": []}}
    del body["task"]["data"]
    found = codec.decode(json.dumps(body).encode())
    assert found == (
        replace(task(), env=(), code=(), config={}, log="", grace=0, data=RemoteData(remotes=(), deps=())),
        result,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"version": 1}',
        b'{"version": 2}',
        b'{"version": 2, "task": [], "result": 5}',
        b'{"version": 2, "task": {}, "result": {"state": []}}',
        b'{"version": 2, "task": {"tree": 1}, "result": {"state": "done", "changed": [1]}}',
        b"[" * 100_000,
        b"\0",
        b"\xff\xfe",
    ],
)
def test_whatever_is_signed_is_a_result_or_none(body: bytes) -> None:
    assert codec.decode(body) is None


@given(st.binary())
def test_what_is_not_signed_is_none(data: bytes) -> None:
    assert codec.signed(data, KEY) is None


def test_a_result_on_disk_that_names_a_file_in_a_remote_is_an_error_of_ours(tmp_path: Path) -> None:
    """Only one that was broken into does; it is told like a result that cannot be taken over."""
    bundle = FileBundle(id="p", files=(BundledFile(path="a", mode=0o100644, mtime_ns=0, data=b"", key="k"),))
    with pytest.raises(StorageError, match="this run has none"):
        unpack(bundle, str(tmp_path), bring=SharedDisk().fetch)
