"""Files that two stages have rewritten are merged as Git merges them, without the git program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dvc_ray.workspace.texts import merge_lines

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\r\n", b"\xff\xe9\n", b"e"]), max_size=7).map(b"".join)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(ours=LINES, base=LINES, theirs=LINES)
@example(b"A\nb\nc\n", b"a\nb\nc\n", b"a\nb\nC\n")
@example(b"a\nb\n", b"a\n", b"a\nc\n")
@example(b"<<<<<<< x\nb\nc\n", b"a\nb\nc\n", b"a\nb\n>>>>>>> y\n")
@example(b"\0a\nb\nc\n", b"a\nb\nc\n", b"a\nb\nC\n")
def test_it_merges_as_git_does(
    tmp_path_factory: pytest.TempPathFactory, ours: bytes, base: bytes, theirs: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
        Path(folder, name).write_bytes(content)
    done = subprocess.run(
        ["git", "merge-file", "-p", "-q", "ours", "base", "theirs"], cwd=folder, capture_output=True, check=False
    )
    assert merge_lines(ours, base, theirs) == (None if done.returncode else done.stdout)


def test_it_merges_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert merge_lines(b"A\nb\nc\n", b"a\nb\nc\n", b"a\nb\nC\n") == b"A\nb\nC\n"
