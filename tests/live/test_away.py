"""Data of a stage on another node; on real nodes: `tests/hosts/test_nested.py`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from dvc_ray import paths
from dvc_ray.errors import LiveError
from dvc_ray.live.remote import Attempt, Place
from dvc_ray.node import fetch_deps
from dvc_ray.values.task import Remote


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder of a node without the stage, whose dep lies in a remote."""
    monkeypatch.setenv(paths.NODE_DIR, str(tmp_path / "node"))
    oid = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    stored = tmp_path / "remote/files/md5" / oid[:2] / oid[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"data")
    attempt = Attempt(
        node="n",
        run_id="1",
        name="one",
        project=".",
        fetcher=fetch_deps.__name__,
        deps=(("in/data.txt", oid, "store"), ("in/none.txt", "0" * 32, "store")),
        remotes=(asdict(Remote(name="store", url=str(tmp_path / "remote"))),),
    )
    (tmp_path / "copy").mkdir()
    return Place(attempt, tmp_path / "copy")


def test_a_dep_comes_from_its_remote_in_a_process_of_its_own(place: Place) -> None:
    place.bring("in/data.txt")
    assert (place.root / "in/data.txt").read_text() == "data"
    assert os.listdir(place.root / "in") == ["data.txt"]


def test_a_dep_that_is_not_in_its_remote_is_named(place: Place) -> None:
    with pytest.raises(LiveError, match=r"cannot bring 'in/none\.txt' to node .+: .*an object is missing"):
        place.bring("in/none.txt")
