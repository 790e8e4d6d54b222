"""What tells that a file has changed, files written whole or not at all, and walks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.files import Stamp, atomic_write, replacing, walk_files
from dvc_ray.paths import files_under

OLD = (1_000_000_000, 1_000_000_000)
"""A time, in nanoseconds, at which nobody writes."""


def nothing(path: Path) -> None:
    path.read_bytes()


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=OLD)


def later(path: Path) -> None:
    path.write_bytes(b"other")


def replaced(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"other")
    os.utime(fresh, ns=OLD)
    fresh.replace(path)


def rewritten_with_its_time(path: Path) -> None:
    path.write_bytes(b"other")
    os.utime(path, ns=OLD)


def executable(path: Path) -> None:
    path.chmod(0o755)


def second_name(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (nothing, ""),
        (longer, "always, mode, ctime"),
        (later, "always, mode, ctime"),
        (replaced, "always, mode, ctime"),
        (rewritten_with_its_time, "ctime"),  # what workspaces used again rely on
        (executable, "mode, ctime"),
        (second_name, "ctime"),  # so the change time counts nowhere where files are linked
    ],
)
def test_what_a_stamp_sees(tmp_path: Path, change: Callable[[Path], None], seen: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"these")
    path.chmod(0o644)
    os.utime(path, ns=OLD)
    tick(path)

    before = path.stat()
    change(path)
    now = path.stat()
    found = {
        "always": Stamp.of(now) != Stamp.of(before),
        "mode": Stamp.of(now, mode=True) != Stamp.of(before, mode=True),
        "ctime": Stamp.of(now, ctime=True) != Stamp.of(before, ctime=True),
    }
    assert ", ".join(kind for kind, differs in found.items() if differs) == seen


def tick(path: Path) -> None:
    """Wait until the file system's clock has moved on since the file's change time."""
    probe = path.with_name("probe")
    probe.touch()
    while probe.stat().st_ctime_ns == path.stat().st_ctime_ns:
        os.utime(probe)
    probe.unlink()


def test_a_stamp_of_a_link_and_of_nothing(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"1")
    link.symlink_to("file")
    assert Stamp.at(str(link)) == Stamp.at(str(file)) != Stamp.at(str(link), follow=False)
    file.unlink()
    assert Stamp.at(str(link)) is None is Stamp.at(str(file))
    assert Stamp.at(str(link / "inside")) is None


def test_a_copy_has_the_version(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(b"these")
        os.utime(path, ns=OLD)
    assert Stamp.of(one.stat()) != Stamp.of(other.stat())
    assert Stamp.of(one.stat()).version == Stamp.of(other.stat()).version == (OLD[1], 5)


def test_a_new_file_has_the_mode_of_any_and_a_replaced_one_its_own(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    atomic_write(tmp_path / "new", b"1")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "any").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    atomic_write(tmp_path / "new", b"2", like=(tmp_path / "new").stat())
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").read_bytes() == b"2"
    assert sorted(os.listdir(tmp_path)) == ["any", "new"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.chown(path, 12345, 12346)
    atomic_write(path, b"2", like=path.stat())
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    users, link = tmp_path / "users", tmp_path / "link"
    users.write_bytes(b"the user's")
    for target in ("users", "nowhere"):
        link.symlink_to(target)
        atomic_write(link, b"ours")
        assert not link.is_symlink()
        assert link.read_bytes() == b"ours"
        link.unlink()
    assert users.read_bytes() == b"the user's"
    assert os.listdir(tmp_path) == ["users"]


def test_a_second_name_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "cached").hardlink_to(tmp_path / "file")
    atomic_write(tmp_path / "file", b"2")
    assert (tmp_path / "cached").read_bytes() == b"1"


FULL = """
import resource, sys
from dvc_ray.files import atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic_write(sys.argv[1], bytes(2000))
except OSError as error:
    sys.exit(error.strerror)
"""


def test_no_room_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "File too large"
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_whatever_ends_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def stopped_half_way() -> None:
        with replacing(str(tmp_path / "file")) as temporary:
            Path(temporary).write_bytes(b"half")
            assert Path(temporary).parent == tmp_path
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "folder", b"1")
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "file", b"1")
    assert os.listdir(tmp_path) == ["folder"]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"0" * 100_000)
    over = threading.Event()

    def write() -> None:
        for number in range(200):
            atomic_write(path, b"%d" % (number % 10) * 100_000)
        over.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for each in writers:
        each.start()
    while not over.is_set():
        found = path.read_bytes()
        assert found == found[:1] * 100_000
    for each in writers:
        each.join()
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b", "a", "sub/d", "sub/c", "sub/deep/e", ".git/index", "sub/.dvc/config", "elsewhere/f"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    (tmp_path / "tree" / "elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "tree/sub/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree/sub/loop").symlink_to("..")
    (tmp_path / "tree/broken").symlink_to("nowhere")
    (tmp_path / "tree/none").mkdir()
    return tmp_path / "tree"


def test_a_walk_is_in_order_and_follows_no_link(tree: Path) -> None:
    here = ["a", "b", "broken"]
    inside = ["sub/c", "sub/d", "sub/link", "sub/loop"]
    assert list(walk_files(str(tree), skip={".git", ".dvc"})) == [*here, *inside, "sub/deep/e"]
    assert list(walk_files(str(tree), "sub", skip={".dvc", "loop"})) == [*inside[:-1], "sub/deep/e"]
    assert list(walk_files(str(tree))) == [*here, ".git/index", *inside, "sub/.dvc/config", "sub/deep/e"]
    assert list(walk_files(str(tree), skip={"sub", ".git"}, empty=True)) == [*here, "none"]
    assert list(walk_files(str(tree), "none", empty=True)) == ["none"]
    assert list(walk_files(str(tree), "nowhere", empty=True)) == list(walk_files(str(tree), "a")) == []


def test_what_is_under_a_path(tree: Path) -> None:
    (tree / "sub/deep/.git").write_text("gitdir: elsewhere")
    for name in ("config.local", "cache/files/x", "tmp/x", "plots/tmp/y"):
        (tree / "sub/.dvc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "sub/.dvc" / name).touch()
    inside = ["sub/c", "sub/d", "sub/link", "sub/loop", "sub/deep/e"]
    assert list(files_under(str(tree), "sub")) == inside
    assert list(files_under(str(tree), ".")) == ["a", "b", "broken", "none", *inside]
    assert list(files_under(str(tree), "sub/link")) == ["sub/link"]
    assert list(files_under(str(tree), "sub/.dvc")) == ["sub/.dvc/config", "sub/.dvc/plots/tmp/y"]
    assert "sub/deep/.git" in set(files_under(str(tree), "sub", skip=()))
    assert "sub/.dvc/config.local" in set(files_under(str(tree), "sub", skip=()))


def test_a_folder_that_cannot_be_read_has_nothing_in_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Any:  # root may read any
        if path.endswith("sub"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(walk_files(str(tree), skip={".git"})) == ["a", "b", "broken"]
