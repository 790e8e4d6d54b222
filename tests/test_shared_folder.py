"""A remote that is a folder which all machines see, and one that not all of them see."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.errors import StorageError, UnreachableError, UnsupportedError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.executors.ray import nodes
from dvc_ray.repo.remote.remotes import DvcObjects, open_remote
from dvc_ray.storage import probe, shared_folder
from dvc_ray.storage.shared_folder import answer, is_answered, marked, sees
from dvc_ray.values.run import Experiment
from dvc_ray.values.task import Remote, WorkerEvent
from tests.helpers import stock
from tests.helpers.comparing import assert_same
from tests.helpers.projects import Make, twin
from tests.helpers.results import states
from tests.helpers.runs import Apart

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


def test_a_plan_writes_nothing_into_it(
    made: Path, apart: Apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dvc_ray.api.call._joined", lambda *_: LocalExecutor(apart=True, shared=str(tmp_path / "mount"))
    )
    (tmp_path / "mount/store").mkdir()
    with stock.in_directory(made):
        assert api.make_plan()
    assert not list((tmp_path / "mount/store").iterdir())


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
            assert "cannot write to .dvc-ray/seen there: Permission denied" in answer(str(here), mark, "w2")
            (here / ".dvc-ray/seen").chmod(0o755)
    assert not list((here / ".dvc-ray/seen").iterdir())
    assert answer(str(here), "", "w1") == ""
    assert answer(str(there), "", "w1")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"), marked(str(tmp_path / "file/store")):
        pass
    (tmp_path / "store/.dvc-ray").mkdir(parents=True)
    (tmp_path / "store/.dvc-ray/seen").write_text("")
    inside = rf"cannot write to '{tmp_path}/store', .*: Not a directory \('{tmp_path}/store/\.dvc-ray/seen/"
    with pytest.raises(StorageError, match=inside), marked(str(tmp_path / "store")):
        pass


def test_who_comes_first_does_not_close_the_store_to_others_of_the_group(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(0o2770)
    before = os.umask(0o077)
    try:
        with marked(str(store)) as mark:
            assert oct((store / ".dvc-ray/seen" / mark).stat().st_mode & 0o777) == "0o440"
            DvcObjects(Remote(name="shared", url=str(store), options=())).write("files/md5/ab/cd", b"x")
    finally:
        os.umask(before)
    folders = [path for path in store.rglob("*") if path.is_dir()]
    assert {(path.name, oct(path.stat().st_mode & 0o7777)) for path in folders} == {
        (name, "0o2770") for name in (".dvc-ray", "seen", "files", "md5", "ab")
    }


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be others: run the tests as root, as CI does")
def test_another_user_of_the_group_has_the_store_too() -> None:
    with tempfile.TemporaryDirectory() as top:  # those of pytest are for their owner alone
        store = Path(top, "store")
        store.mkdir()
        Path(top).chmod(0o755)
        os.chown(store, -1, 54321)
        store.chmod(0o2775)
        probe(DvcObjects(Remote(name="shared", url=str(store), options=())))
        with marked(str(store)) as mark:
            done = subprocess.run(
                [sys.executable, "-c", OTHER, str(store), mark], capture_output=True, text=True, check=False
            )
            assert done.stdout == "answered, written\n", done.stderr
            assert is_answered(str(store), mark, "w1")
        assert not list((store / ".dvc-ray/seen").iterdir())


OTHER = """
import os, sys, tempfile
from dvc_ray.repo.remote.remotes import DvcObjects
from dvc_ray.storage import probe
from dvc_ray.storage.shared_folder import answer, marked
from dvc_ray.values.task import Remote

store, mark = sys.argv[1:]
with tempfile.TemporaryDirectory() as another:  # loads what that user may have no right to read
    probe(DvcObjects(Remote(name="another", url=another, options=())))
    with marked(another) as own:
        answer(another, own, "w1")
theirs = DvcObjects(Remote(name="shared", url=store, options=()))
os.setgroups([54321]); os.setgid(54322); os.setuid(54322)
why = answer(store, mark, "w1")
probe(theirs)
print(why or "answered", "written", sep=", ")
"""


@pytest.fixture
def hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store whose mark nobody can read to its end, as of a server that has gone: a pipe without a writer."""
    monkeypatch.setattr(shared_folder, "WITHIN", 0.2)
    folder = tmp_path / "mount/store/.dvc-ray/seen"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "mark")
    yield tmp_path / "mount/store"
    os.close(os.open(folder / "mark", os.O_RDWR | os.O_NONBLOCK))


def test_a_file_system_that_hangs_is_told_and_not_waited_for(hangs: Path) -> None:
    assert answer(str(hangs), "mark", "w1") == "does not hear from its file system within 0.2 s"
    with pytest.raises(UnreachableError, match=r"does not answer within 0\.2 s") as caught:
        open_remote(Remote(name="shared", url=str(hangs), options=(), mark="mark"))
    assert "that the server it is mounted from is up" in caught.value.hint


def test_one_that_hangs_where_the_run_starts(
    made: Path, apart: Apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "WITHIN", 0.2)
    ended = threading.Event()
    monkeypatch.setattr(shared_folder, "make_folder", lambda *_: ended.wait())
    try:
        with pytest.raises(UnreachableError, match=f"'{tmp_path}/mount/store', seen from .* does not answer within"):
            apart(made)
    finally:
        ended.set()


def test_a_node_that_gives_no_answer_does_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_names", lambda _head: {"id1": "one", "id2": "two"})
    monkeypatch.setattr(nodes, "_ask", lambda _what, _nodes: ({"id1": ""}, ["id2"]))
    assert nodes.lacking("head", "/shared", "") == {"two": "gives no answer within 30 s"}
