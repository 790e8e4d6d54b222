from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

import dvc_ray
from dvc_ray import env
from dvc_ray.errors import LiveError


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "storage/checkpoint_1"
    (folder / "tokenizer/deep").mkdir(parents=True)
    (folder / "model.pth").write_text("weights")
    (folder / "tokenizer/deep/vocab").write_text("words")
    (tmp_path / "stage").mkdir()
    monkeypatch.setenv(env.STAGE_DIR, str(tmp_path / "stage"))
    filesystem = SubTreeFileSystem(str(tmp_path / "storage"), LocalFileSystem())
    return SimpleNamespace(path="checkpoint_1", filesystem=filesystem)


@pytest.fixture
def stage(tmp_path):
    return tmp_path / "stage"


def test_a_file_of_a_result_comes_home_to_the_same_path(checkpoint, stage):
    result = SimpleNamespace(checkpoint=checkpoint, path="somewhere")
    assert dvc_ray.fetch(result, "model.pth") == str(stage / "model.pth")
    assert (stage / "model.pth").read_text() == "weights"
    assert [path.name for path in stage.iterdir()] == ["model.pth"]


def test_a_file_is_replaced_without_writing_into_the_old_one(checkpoint, stage):
    """The old one may be a link into DVC's cache."""
    (stage / "cached").write_text("old")
    (stage / "models").mkdir()
    (stage / "models/last.pth").hardlink_to(stage / "cached")
    dvc_ray.fetch(checkpoint, "model.pth", "models/last.pth")
    assert (stage / "models/last.pth").read_text() == "weights"
    assert (stage / "cached").read_text() == "old"


def test_a_directory_replaces_a_directory(checkpoint, stage):
    (stage / "tokenizer").mkdir()
    (stage / "tokenizer/stale").write_text("")
    dvc_ray.fetch(checkpoint, "tokenizer")
    assert [p.relative_to(stage).as_posix() for p in stage.rglob("*")] == [
        "tokenizer",
        "tokenizer/deep",
        "tokenizer/deep/vocab",
    ]


def test_storage_paths_and_urls(checkpoint, stage, tmp_path):
    folder = tmp_path / "storage/checkpoint_1"
    assert Path(dvc_ray.fetch(str(folder), "model.pth", "a")).read_text() == "weights"
    assert Path(dvc_ray.fetch(folder.as_uri(), "model.pth", stage / "b")).read_text() == "weights"


def test_what_is_missing_is_said_with_what_there_is(checkpoint, stage):
    with pytest.raises(LiveError, match=r"no 'best\.pth' in checkpoint_1, which has: model\.pth, tokenizer, "):
        dvc_ray.fetch(checkpoint, "best.pth")
    assert list(stage.iterdir()) == []


def test_a_result_without_checkpoint():
    with pytest.raises(LiveError, match="no checkpoint") as caught:
        dvc_ray.fetch(SimpleNamespace(checkpoint=None), "model.pth")
    assert "ray.train.report" in caught.value.hint


@pytest.mark.parametrize("path", ["/etc/passwd", "../other"])
def test_only_what_is_in_the_checkpoint(checkpoint, path):
    with pytest.raises(LiveError, match="leads out"):
        dvc_ray.fetch(checkpoint, path)
