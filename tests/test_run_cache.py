"""DVC's run cache while another process writes in it: an entry on its way is none, and nobody fails over it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.repo.dvc.shared_run_cache import SharedRunCache
from tests.helpers import stock
from tests.helpers.projects import Make, one
from tests.helpers.runs import Locally


@contextlib.contextmanager
def opened(root: Path) -> Iterator[tuple[Any, Any]]:
    """The project's repository and its stage."""
    from dvc.repo import Repo

    with stock.in_directory(root), contextlib.closing(Repo()) as repo:
        yield repo, repo.stage.collect("one")[0]


def being_written(root: Path, text: str = "cmd: ") -> Path:
    """What DVC leaves beside an entry until it is complete."""
    (entry,) = (root / ".dvc/cache/runs").glob("*/*/*")
    made = entry.with_name(".Oj4h-ZTjRMQHwAks0kHEPw.tmp")
    made.write_text(text)
    later = entry.stat().st_mtime + 10
    os.utime(made, (later, later))
    return made


def test_an_entry_on_its_way_is_none(project: Make, locally: Locally, tmp_path: Path) -> None:
    count = tmp_path / "count"
    root = project({"dvc.yaml": one(f"echo ran >> {count}; echo x > out.txt"), "in.txt": ""})
    assert locally(root).ok
    made = being_written(root)
    (root / "dvc.lock").unlink()
    (root / "out.txt").unlink()
    assert locally(root).ok
    assert count.read_text() == "ran\n", "the complete entry was taken"
    assert made.exists(), "the process that writes it is going to rename it"


def test_an_entry_that_goes_while_they_are_looked_through(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"dvc.yaml": one("echo x > out.txt"), "in.txt": ""})
    assert locally(root).ok
    listed = os.listdir

    def one_more(folder: Any = ".") -> list[str]:
        return [*listed(folder), "gone"]

    with opened(root) as (repo, _):
        (entry,) = (root / ".dvc/cache/runs").glob("*/*/*")
        monkeypatch.setattr(os, "listdir", one_more)
        assert SharedRunCache(repo).entries(entry.parent.name) == [entry.name]


def test_a_folder_that_goes_while_an_entry_is_written(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.utils import serialize

    root = project({"dvc.yaml": one("echo x > out.txt"), "in.txt": ""})
    assert locally(root).ok
    (entry,) = (root / ".dvc/cache/runs").glob("*/*/*")
    text = entry.read_text()
    shutil.rmtree(entry.parent)
    dump = serialize.dump_yaml
    removed: list[str] = []

    def removing(path: str, data: Any) -> None:
        if not removed:
            removed.append(path)
            os.rmdir(os.path.dirname(path))  # as `dvc_ray.repo.run.run_cache.forget` of another run
        dump(path, data)

    monkeypatch.setattr(serialize, "dump_yaml", removing)
    with opened(root) as (repo, stage):
        SharedRunCache(repo).save(stage)
    assert removed
    assert entry.read_text() == text
