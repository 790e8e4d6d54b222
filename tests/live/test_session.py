from __future__ import annotations

import os
import subprocess
import sys

import pytest

import dvc_ray
from dvc_ray import env
from dvc_ray.errors import LiveError
from dvc_ray.live import session


def test_importing_dvc_ray_loads_neither_ray_nor_dvc(environment):
    program = "import sys, dvc_ray; [getattr(dvc_ray, name) for name in dvc_ray.__all__]"
    check = "print([m for m in ('ray', 'dvc', 'dvclive', 'pyarrow') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; dvc_ray.Live(); {check}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_public_names():
    assert set(dvc_ray.__all__) <= set(dir(dvc_ray))
    assert dvc_ray.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dvc_ray.nothing


def test_data_path_is_absolute_and_of_the_stage(write, monkeypatch):
    root = write({"steps/data/train.npz": ""})
    monkeypatch.chdir(root / "steps")
    assert dvc_ray.data_path("data") == str(root / "steps/data")
    monkeypatch.chdir("/")
    monkeypatch.setenv(env.STAGE_DIR, str(root / "steps"))
    assert dvc_ray.data_path("data/train.npz") == str(root / "steps/data/train.npz")
    assert dvc_ray.data_path("../steps/data") == str(root / "steps/data")


def test_missing_data_is_an_error_that_helps(write, monkeypatch):
    root = write({"train.py": ""})
    monkeypatch.setenv(env.STAGE_DIR, str(root))
    with pytest.raises(LiveError) as caught:
        dvc_ray.data_path("data/none")
    assert str(root / "data/none") in caught.value.what
    assert os.getcwd() in caught.value.what
    assert "deps: [data/none]" in caught.value.hint


def test_storage_path_of_the_run(monkeypatch):
    monkeypatch.setenv(env.STORAGE, "s3://bucket/runs/1/")
    assert dvc_ray.storage_path() == "s3://bucket/runs/1"
    assert dvc_ray.storage_path("train/checkpoints") == "s3://bucket/runs/1/train/checkpoints"


@pytest.mark.parametrize("name", ["/etc", "../other", "a/../../b"])
def test_storage_path_stays_inside(name):
    with pytest.raises(LiveError, match="leads out"):
        dvc_ray.storage_path(name)


def test_own_storage_lies_in_dvcs_temporary_directory_and_stays_the_same(write, monkeypatch):
    root = write({".dvc/config": "", "steps/train.py": ""})
    monkeypatch.chdir(root / "steps")
    path = dvc_ray.storage_path("tune")
    assert path.startswith(str(root / ".dvc/tmp/ray/storage/"))
    assert path == dvc_ray.storage_path("tune")


def test_own_storage_without_dvc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = dvc_ray.storage_path()
    assert os.path.isdir(path)
    os.rmdir(path)


def test_the_root_is_that_of_the_working_directory_not_dvc_root(write, monkeypatch, tmp_path):
    """In `dvc exp run --temp`, DVC_ROOT is the main repository."""
    root = write({".dvc/config": "", "steps/train.py": ""})
    monkeypatch.chdir(root / "steps")
    monkeypatch.setenv(env.DVC_ROOT, str(tmp_path / "main"))
    assert session.project_root() == root.resolve()
    monkeypatch.setenv(env.CODE_LIST, "list")
    assert session.project_root() == tmp_path / "main"
