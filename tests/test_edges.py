"""The edges of a command line: streams that are closed or full, places that are gone, files that are no such files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import stock
from tests.helpers.projects import Make, one
from tests.helpers.runs import Locally

TEXT = one("echo h\u00e9; cp in.txt out.txt")


def run(root: Path, *arguments: str, streams: str = "", **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m dvc_ray "$@" {streams}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments],
        cwd=root,
        env={**os.environ, **environ},
        capture_output=True,
        check=False,
    )


@pytest.fixture
def root(project: Make) -> Path:
    return project({"dvc.yaml": TEXT, "in.txt": "in\n"})


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(root: Path, streams: str) -> None:
    """What is opened next must not get their numbers, and be written to by whoever prints."""
    for arguments in (["--dry"], ["--dry", "--json"], ["--help"]):
        done = run(root, "repro", *arguments, streams=streams)
        assert done.returncode == 0, done
        assert b"Traceback" not in done.stderr
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".dvc/tmp" not in str(path)}
    assert run(root, "repro", "nothing", streams=streams).returncode == 255
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_run_without_streams(root: Path) -> None:
    assert run(root, "repro", streams=">&- 2>&- <&-").returncode == 0
    assert (root / "out.txt").read_text() == "in\n"
    assert (root / "in.txt").read_text() == "in\n"
    assert stock.status(root) == {}


@pytest.mark.parametrize("arguments", [["--dry"], ["--dry", "--json"]])
def test_output_that_has_no_room(root: Path, arguments: list[str]) -> None:
    done = run(root, "repro", *arguments, streams="> /dev/full")
    assert done.returncode == 255
    assert done.stderr.startswith(b"ERROR: cannot write its output: No space left on device\n")
    assert b"unexpected" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_errors_that_have_no_room(root: Path) -> None:
    assert run(root, "repro", "nothing", streams="2> /dev/full").returncode == 255


def test_what_the_stream_cannot_encode(root: Path) -> None:
    done = run(root, "repro", "--dry", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"echo h\\xe9; cp in.txt out.txt" in done.stdout


def test_output_of_a_command_that_the_stream_cannot_encode_ends_no_run(
    project: Make, on_shared_ray: dict[str, str]
) -> None:
    root = project({"dvc.yaml": one("printf 'h\\303\\251 \\377\\n'; cp in.txt out.txt"), "in.txt": "in\n"})
    done = run(root, "repro", PYTHONIOENCODING="ascii", RAY_ADDRESS=on_shared_ray["RAY_ADDRESS"])
    assert done.returncode == 0, done.stderr
    assert b"one | h\\xe9 " in done.stdout


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = 'rmdir "$PWD"; exec "$0" -m dvc_ray repro'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=tmp_path / "gone", capture_output=True, check=False
    )
    assert done.returncode == 255
    assert done.stderr.startswith(b"ERROR: the working directory does not exist any more\n")


def test_a_file_where_our_own_folder_is_to_be(root: Path) -> None:
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    (root / ".dvc/tmp/ray").write_text("mine\n")
    done = run(root, "repro")
    assert done.returncode == 255
    assert b"ERROR: Not a directory: " in done.stderr
    assert b".dvc/tmp/ray" in done.stderr
    assert (root / ".dvc/tmp/ray").read_text() == "mine\n"


DEEP = "[" * 5_000


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", "dvc.lock"])
def test_what_is_nested_too_deeply_is_named(root: Path, name: str) -> None:
    (root / "dvc.yaml").write_text(TEXT.replace("outs:", "params: [p]\n    outs:"))
    (root / "params.yaml").write_text("p: 1\n")
    (root / name).write_text(f"stages: {DEEP}")
    done = run(root, "repro", "--dry")
    assert done.returncode == 255
    assert done.stderr.startswith(f"ERROR: '{name}' is nested too deeply, or refers to itself\n".encode())


def test_no_home(root: Path) -> None:
    done = run(root, "repro", "--dry", HOME="")
    assert done.returncode == 0, done.stderr


def test_output_that_nobody_reads_ends_a_run(root: Path, locally: Locally) -> None:
    locally(root)
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in ([], ["--json"]):
        command = [sys.executable, "-m", "dvc_ray", "repro", *arguments]
        done = subprocess.run(command, cwd=root, stdout=writing, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(writing)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_output_that_has_no_room_ends_no_run(root: Path, locally: Locally, arguments: list[str]) -> None:
    locally(root)
    done = run(root, "repro", *arguments, streams="> /dev/full")
    text = b"WARNING: nothing more of this run can be shown here: No space left on device; it goes on\n"
    assert (done.returncode, done.stderr) == (0, text)
