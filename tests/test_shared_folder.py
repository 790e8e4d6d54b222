"""A remote that is a folder which all machines see, and one that not all of them see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.errors import StorageError, UnsupportedError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.storage.shared import answer, is_answered, marked, sees
from dvc_ray.values.run import Experiment
from dvc_ray.values.task import WorkerEvent
from tests import stock
from tests.conftest import Apart
from tests.test_apart_push import assert_same, twin
from tests.test_run import Make, states

PIPELINE = """
stages:
  one: {cmd: cat data/* > one.txt && mkdir many && cp data/* many, deps: [data], outs: [one.txt, many]}
  two: {cmd: cat one.txt many/* > two.txt && echo $DVC_RAY_STORAGE > where.txt, deps: [one.txt, many], outs: [two.txt]}
"""


@pytest.fixture
def made(project: Make, tmp_path: Path) -> Path:
    root = project({"dvc.yaml": PIPELINE, "data/a": "a\n", "data/b": "b\n"})
    stock.sh(root, "git rm -q -r --cached data && dvc add -q data && git add -A && git commit -qm data")
    (tmp_path / "mount").mkdir()
    stock.sh(root, f"dvc remote add -q -d shared {tmp_path}/mount/store")
    return root


def objects(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".dvc-ray" not in str(path)
    }


def test_a_folder_that_all_see_carries_data(made: Path, apart: Apart, tmp_path: Path) -> None:
    store = tmp_path / "mount/store"
    other = twin(made)
    stock.sh(other, f"dvc remote modify shared url {tmp_path}/stock-store && dvc repro -q && dvc push -q --run-cache")
    with stock.in_directory(made):
        executor = LocalExecutor(apart=True, shared=str(tmp_path / "mount"))
        result = api.repro(executor=executor)
        assert not result.failed, result.failed
        assert_same(made, other)
        assert objects(store) == objects(tmp_path / "stock-store")
        where = (made / "where.txt").read_text().strip()
        assert where == f"{store}/.dvc-ray/runs/{result.run_id}/storage"
        assert not list((store / ".dvc-ray/seen").iterdir()), "nothing is left of what was asked"
        (made / "dvc.lock").unlink()
        again = states(api.repro(executor=executor))
    assert {name: state.value for name, state in again.items() if name != "data.dvc"} == {
        "one": "cached",
        "two": "cached",
    }
    stock.sh(made, "dvc pull -q && dvc status -q")


def test_a_path_as_dvc_does_not_understand_it(made: Path, apart: Apart, tmp_path: Path) -> None:
    stock.sh(made, f"dvc remote modify shared url file://{tmp_path}/mount/store")
    with pytest.raises(UnsupportedError, match="takes for a folder called 'file:'") as caught:
        apart(made)
    assert f"url {tmp_path}/mount/store" in caught.value.hint


def test_an_experiment_by_a_folder(made: Path, apart: Apart, tmp_path: Path) -> None:
    stock.sh(made, "dvc remote modify shared url ../mount/store && git add -A && git commit -qm relative")
    with stock.in_directory(made):
        executor = LocalExecutor(apart=True, shared=str(tmp_path / "mount"))
        result, saved = api.exp_run(Experiment(), executor=executor)
    assert not result.failed, result.failed
    assert saved is not None
    assert objects(tmp_path / "mount/store")


def test_a_machine_that_does_not_see_it_is_named(made: Path, apart: Apart, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"is a path of this one: .* \(\S+ is as another machine\)") as caught:
        apart(made)
    assert "mount that folder on all of them" in caught.value.hint
    assert not list((tmp_path / "mount/store/.dvc-ray/seen").iterdir())
    assert not (made / "dvc.lock").exists()


def test_a_machine_that_comes_later_looks_for_itself(made: Path, apart: Apart, tmp_path: Path) -> None:
    store = tmp_path / "mount/store"

    class Late(LocalExecutor):
        """Its machine has another folder in that place."""

        def events(self, timeout: float) -> list[WorkerEvent]:
            with _another(store):
                return list(super().events(timeout))

    with stock.in_directory(made):
        result = api.repro(executor=Late(apart=True, shared=str(tmp_path / "mount")))
    assert f"does not see there what the other machines see: {store}" in result.failed[0].error
    assert not objects(tmp_path / "mount/other"), "nothing is written where nobody would find it"


@contextlib.contextmanager
def _another(folder: Path) -> Iterator[None]:
    other, kept = folder.with_name("other"), folder.with_name("kept")
    other.mkdir(exist_ok=True)
    folder.rename(kept)
    other.rename(folder)
    try:
        yield
    finally:
        folder.rename(other)
        kept.rename(folder)


def test_only_who_sees_the_same_folder_can_answer(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with marked(str(here)) as mark:
        assert sees(str(here), mark)
        assert not sees(str(there), mark)
        assert "does not have what was just written" in answer(str(there), mark, "w1")
        assert not there.exists()
        assert not is_answered(str(here), mark, "w1")
        assert answer(str(here), mark, "w1") == ""
        assert is_answered(str(here), mark, "w1")
        if os.geteuid():
            (here / ".dvc-ray/seen").chmod(0o555)
            assert "cannot write there: Permission denied" in answer(str(here), mark, "w2")
            (here / ".dvc-ray/seen").chmod(0o755)
    assert not list((here / ".dvc-ray/seen").iterdir())
    assert answer(str(here), "", "w1") == ""
    assert answer(str(there), "", "w1")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"), marked(str(tmp_path / "file/store")):
        pass
