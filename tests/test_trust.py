"""What is the user's own stays theirs: nothing of ours is written into it, and no stage is given what may hold keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvc_ray.errors import ProjectError
from dvc_ray.paths import remove
from dvc_ray.repo import Project
from dvc_ray.repo.run.worker_run import configure
from tests.helpers import stock
from tests.helpers.comparing import assert_same_files
from tests.helpers.projects import Make, one, twin
from tests.helpers.runs import Here, Locally

KEYS = """['remote \"s3\"']
    url = s3://bucket
    secret_access_key = canary-of-the-user
"""


def mine(root: Path) -> Path:
    """Settings of the user's with a key in them."""
    local = root / ".dvc/config.local"
    local.write_text(KEYS)
    return local


NAMED = {
    "a dep": one("cat .dvc/config.local > out.txt").replace("in.txt", ".dvc/config.local"),
    "an include": one("cat .dvc/config.local > out.txt", "{include: [.dvc/config.local]}"),
    "by way of a link": one("cat key > out.txt", "{include: [key]}"),
    "what is temporary": one("ls .dvc/tmp > out.txt", "{include: [.dvc/tmp]}"),
    "of a project below": one("cat sub/.dvc/config.local > out.txt", "{include: [sub/.dvc/config.local]}"),
}


@pytest.mark.parametrize("how", NAMED)
def test_dvc_s_own_is_refused_by_name(project: Make, here: Here, how: str) -> None:
    root = project({"dvc.yaml": NAMED[how], "in.txt": "", "sub/.dvc/config": ""})
    local = mine(root)
    (root / "key").symlink_to(".dvc/config.local")
    (root / "sub/.dvc/config.local").write_text(KEYS)
    for flags in (["--dry"], []):
        done = here(root, "repro", *flags)
        assert "is DVC's own: it may hold keys" in done.stdout + done.stderr, done
        assert (done.returncode == 0) is ("--dry" in flags)
    assert local.read_text() == KEYS
    assert not (root / "out.txt").exists()


@pytest.mark.parametrize("path", ["../outside", "/etc", "{outside}", "sub/../../outside"])
@pytest.mark.parametrize("flags", [["--dry"], []])
def test_an_include_that_leads_out_is_refused(
    project: Make, here: Here, tmp_path: Path, path: str, flags: list[str]
) -> None:
    (tmp_path / "outside").mkdir()
    path = path.format(outside=tmp_path / "outside")
    root = project({"dvc.yaml": one("echo > out.txt", f"{{include: ['{path}']}}"), "in.txt": "", "sub/x": ""})
    done = here(root, "repro", *flags)
    assert done.returncode == 251, done
    assert f"stage 'one': '{path}' of 'meta.ray.include' leads out of the project" in done.stderr
    assert not (root / "out.txt").exists()


@pytest.mark.parametrize("path", ["../include", "{root}/include", "."])
def test_an_include_that_stays_is_not(project: Make, locally: Locally, path: str) -> None:
    text = one("cp ../include/x out.txt", f"{{include: ['{path}']}}", wdir="deep")
    root = project({"dvc.yaml": "", "in.txt": "", "deep/in.txt": "", "include/x": "x"})
    (root / "dvc.yaml").write_text(text.replace("{root}", str(root)))
    assert not locally(root).failed
    assert (root / "deep/out.txt").read_text() == "x"


FOLDERS = {
    "include": one("find .dvc -type f | sort > out.txt; cat .dvc/config.local >> out.txt", "{include: [.dvc]}"),
    "dep": one("cat .dvc/mine/* .dvc/config.local > out.txt").replace("in.txt", ".dvc/mine"),
    "include of a part": one("cat .dvc/mine/* .dvc/config.local > out.txt", "{include: [.dvc/mine]}"),
}


@pytest.mark.parametrize("how", FOLDERS)
def test_of_a_folder_it_is_left_out(project: Make, locally: Locally, how: str) -> None:
    root = project({"dvc.yaml": FOLDERS[how], "in.txt": ""})
    local = mine(root)
    (root / ".dvc/mine").mkdir()
    (root / ".dvc/mine/file").write_text("mine\n")
    assert not locally(root).failed
    assert local.read_text() == KEYS
    assert "canary" not in (root / "out.txt").read_text()
    assert "mine" in (root / "out.txt").read_text()
    assert (root / ".dvc/mine/file").read_text() == "mine\n"


def test_what_is_written_into_a_workspace_is_no_file_of_the_user_s(project: Make, locally: Locally) -> None:
    """But for deps, includes and ignored files, which are shared on purpose; none of them is ours."""
    command = (
        "find . -type f -printf '%i %p\\n' | grep -e /[.]dvc/ -e /[.]git/ > out.txt;"
        " find -L . -samefile .dvc/config.local >> out.txt"
    )
    root = project(
        {"dvc.yaml": one(command, "{include: [.dvc, sub]}"), "in.txt": "", "sub/.dvc/config": "", "sub/x": ""}
    )
    mine(root)
    (root / "sub/.dvc/config.local").write_text(KEYS)
    assert not locally(root).failed
    theirs = {path.lstat().st_ino for path in root.rglob("*") if "objects" not in path.parts and path.is_file()}
    given = [line.split(" ", 1) for line in (root / "out.txt").read_text().splitlines() if line[0].isdigit()]
    shared = [path for inode, path in given if int(inode) in theirs and "/objects/" not in path]
    assert any(path.endswith(".dvc/config.local") for _, path in given)
    assert shared == []


@pytest.mark.parametrize("link", [".dvc", ".dvc/tmp", ".dvc/config.local"])
def test_settings_of_a_workspace_are_written_through_no_link(tmp_path: Path, link: str) -> None:
    for place in ("workspace/.dvc", "home/tmp"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "home/config.local").write_text(KEYS)
    there = tmp_path / "workspace" / link
    remove(str(there))
    there.symlink_to(tmp_path / "home" / Path(link).relative_to(".dvc"))
    configure(str(tmp_path / "workspace"), {"core": {"analytics": False}})
    assert (tmp_path / "home/config.local").read_text() == KEYS
    assert not list((tmp_path / "home/tmp").iterdir())
    assert "analytics" in (tmp_path / "workspace/.dvc/config.local").read_text()


@pytest.mark.parametrize("dep", [".git/HEAD", ".git/refs", ".git/config"])
def test_what_is_git_s_can_be_a_dep(project: Make, locally: Locally, dep: str) -> None:
    root = project({"dvc.yaml": one(f"find {dep} | sort > out.txt").replace("in.txt", dep), "in.txt": ""})
    other = twin(root)
    expected = stock.dvc(other, "repro")
    result = locally(root)
    assert (expected == 0) is result.ok
    assert_same_files(other, root)
    assert stock.status(root) == stock.status(other)


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("state", ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"])
def test_an_experiment_ends_no_merge(project: Make, here: Here, state: str, *, dry: bool) -> None:
    """DVC resets the workspace for a moment, which is the end of it for Git."""
    text = one("cp in.txt out.txt").replace("outs:", "params: [p]\n    outs:")
    root = project({"dvc.yaml": text, "in.txt": "", "params.yaml": "p: 1\n", "a.txt": "a\n"})
    stock.sh(root, "git checkout -qb other && echo b > a.txt && git commit -qam b && git checkout -q -")
    stock.sh(root, "echo c > a.txt && git commit -qam c")
    how = {"MERGE_HEAD": "merge other", "CHERRY_PICK_HEAD": "cherry-pick other", "REVERT_HEAD": "revert -n HEAD"}
    stock.sh(root, f"git {how[state]} || true; echo d > a.txt; git add a.txt")
    assert (root / ".git" / state).exists()
    done = here(root, "exp", "run", "-S", "p=2", *(["--dry"] if dry else []))
    assert done.returncode == 255, done
    assert "Git is in the middle of a" in done.stderr
    assert (root / ".git" / state).exists()


def test_a_result_that_cannot_be_taken_over_is_kept_and_told(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that dies between outs at home and dvc.lock; and a user who commits the outs before the next run."""
    root = project({"dvc.yaml": one("cp in.txt out.txt; echo >> ran"), "in.txt": "in\n", ".gitignore": "/ran\n"})
    (root / "ran").touch()

    def dies(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Project, "merge", dies)
        with pytest.raises(MemoryError):
            locally(root)
    assert (root / "out.txt").exists()
    stock.sh(root, "git add -f out.txt && git commit -qm mine")
    with pytest.raises(
        ProjectError, match=r"stage 'one' had finished in a run that was killed, and .* already tracked"
    ):
        locally(root)
    assert not (root / "dvc.lock").exists()
    with pytest.raises(ProjectError, match="stage 'one' had finished"):
        locally(root)
    stock.sh(root, "git rm -q --cached out.txt && git commit -qm again")
    assert not locally(root).failed
    assert "one:" in (root / "dvc.lock").read_text()
    assert (root / "ran").read_text() == "\n"
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work/*"))


def test_a_take_over_without_an_entry_in_dvc_lock_is_none(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"dvc.yaml": one("cp in.txt out.txt"), "in.txt": "in\n"})
    with monkeypatch.context() as patch:
        patch.setattr(Project, "merge", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            locally(root)
    with monkeypatch.context() as patch:
        patch.setattr(Project, "merge", lambda *_: {})
        with pytest.raises(ProjectError, match=r"stage 'one' had finished .* DVC did not take it into dvc\.lock"):
            locally(root)
    assert not locally(root).failed
    assert stock.status(root) == {}
