"""What of a result comes home: nothing of it lands where no stage may write."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvc_ray.executors.local import LocalExecutor
from dvc_ray.experiments.mirror import TreeMirror
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import BundledFile, Changed, FileBundle, StageResult
from dvc_ray.workspace import Undo
from dvc_ray.workspace.gate import LeadsOutError, beneath, is_inside, passed
from tests.helpers import stock
from tests.helpers.comparing import assert_same_files
from tests.helpers.projects import Make, one, twin
from tests.helpers.runs import Apart, Locally
from tests.helpers.tasks import task

OUT = [
    "../victim",
    "/victim",
    "a/../../victim",
    ".git/hooks/pre-commit",
    "sub/.git/HEAD",
    ".dvc/config",
    "sub/.dvc/config.local",
    "a//b",
    "./a",
    "a/.",
    "",
    "a\0b",
    ".git",
    "..",
]
BASE = StageResult(address="one", attempt=1, state=StageState.DONE, node="n", seconds=1.0, workspace="/w")


def file(path: str, mode: int = stat.S_IFREG | 0o644) -> BundledFile:
    return BundledFile(path=path, mode=mode, mtime_ns=0, data=b"x")


@pytest.mark.parametrize("path", OUT)
@pytest.mark.parametrize(
    "kind", ["created", "deleted", "replaced", "stale", "git_added", "changed", "moved", "returned_files"]
)
def test_what_leads_out_is_left_out_and_the_rest_is_not(kind: str, path: str) -> None:
    made: dict[str, Any] = {kind: ("fine", path)}
    if kind == "changed":
        made = {kind: tuple(Changed(path=each, base=(0, 0)) for each in ("fine", path))}
    elif kind == "moved":
        made = {kind: (("fine", "too"), ("fine", path or ".."), (path, "x"))}
    elif kind == "returned_files":
        made = {"created": ("fine", path), "returned_files": FileBundle(id="p", files=(file("fine"), file(path)))}
    left, refused = passed(task(), replace(BASE, **made))
    assert refused
    found = repr(left)
    assert "fine" in found
    assert not path or repr(path) not in found


def test_the_returned_files_has_only_what_the_result_names_each_once_and_nothing_behind_a_link() -> None:
    link = stat.S_IFLNK | 0o777
    files = [
        file("a"),  # an out of the task
        file("b/deep"),  # in one
        file("new"),
        file("new"),
        file("other"),
        file("way", link),
        file("way/in"),
        file("folder", stat.S_IFDIR | 0o755),
        file("folder/in"),
    ]
    result = replace(
        BASE,
        created=("new", "way", "way/in", "folder", "folder/in"),
        returned_files=FileBundle(id="p", files=tuple(files)),
    )
    left, refused = passed(task(), result)
    assert left.returned_files is not None
    assert [each.path for each in left.returned_files.files] == ["a", "b/deep", "new", "way", "folder", "folder/in"]
    assert set(refused) == {"new", "other", "way/in"}


@given(st.lists(st.sampled_from(["a", "b", ".", "..", ".git", ".dvc", "", "c.git"]), min_size=1, max_size=5))
def test_what_is_inside_stays_inside(parts: list[str]) -> None:
    path = "/".join(parts)
    if is_inside(path):
        assert os.path.normpath(os.path.join("/root", path)) == f"/root/{path}"
        assert not {".git", ".dvc"} & set(parts)


def test_what_is_inside_is_let_through() -> None:
    assert [path for path in ("a", "a/b", "a/c.git", ".gitignore") if not is_inside(path)] == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("tree/a/b", "tree/.git", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tree/inner").symlink_to("a/b")
    (tmp_path / "tree/outer").symlink_to("../outside")
    (tmp_path / "tree/git").symlink_to(".git")
    return tmp_path / "tree"


@pytest.mark.parametrize("path", ["outer/x", "git/x", "a/../outer/x", ".git/x", "../outside/x", "outer/new/x"])
def test_a_link_that_leads_out_is_not_followed(tree: Path, path: str) -> None:
    with pytest.raises(LeadsOutError), beneath(str(tree), path, make=True) as place:
        Path(place).touch()
    assert not list((tree.parent / "outside").iterdir())
    assert not list((tree / ".git").iterdir())


def test_a_link_within_is_followed_and_folders_are_made(tree: Path) -> None:
    with beneath(str(tree), "inner/new/x", make=True) as place:
        Path(place).touch()
    assert (tree / "a/b/new/x").exists()
    with pytest.raises(FileNotFoundError), beneath(str(tree), "inner/none/x"):
        pass


def test_a_link_that_comes_in_between_changes_nothing(tree: Path) -> None:
    with beneath(str(tree), "a/b/x") as place:
        (tree / "a/b").rename(tree / "a/was")
        (tree / "a/b").symlink_to(tree.parent / "outside")
        Path(place).touch()
    assert (tree / "a/was/x").exists()
    assert not list((tree.parent / "outside").iterdir())


def test_errors_name_the_file_as_the_user_does(tree: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised, beneath(str(tree), "a/b") as place:
        Path(place).write_text("x")
    assert raised.value.filename == str(tree / "a/b")


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A user's tree, an experiment's, and a folder that a link in the first leads to."""
    for place in ("home/.git", "other/way", "other/sub/.git", "outside"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "home/way").symlink_to("../outside")
    (tmp_path / "outside/old").write_text("mine")
    for path in ("way/old", "way/new", "fine", "sub/.git/HEAD"):
        (tmp_path / "other" / path).write_text("theirs")
    return tmp_path / "home", tmp_path / "other", tmp_path / "outside"


@pytest.mark.parametrize("how", ["sync", "bring", "move", "drop", "gone"])
def test_what_an_experiment_brings_lands_in_the_project(trees: tuple[Path, Path, Path], how: str) -> None:
    home, other, outside = trees
    refused: list[str] = []
    twin = TreeMirror(str(home), str(other), refuse=refused.append)
    paths = ["way/old", "way/new", "fine"]
    if how in {"drop", "gone"}:  # nothing is there of it in the experiment's any more
        for path in paths:
            (other / path).unlink()
        (home / "fine").write_text("old")
        paths = ["way/old", "fine"]
    if how in {"sync", "gone"}:
        twin.sync(paths)
    elif how == "bring":
        assert twin.bring([*paths, "sub/.git/HEAD"], [], str(other / "kept")) == ()
    elif how == "move":
        twin.move(paths)
    else:
        twin.drop(paths)
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"old": "mine"}
    assert refused == paths[:-1]
    assert (home / "fine").exists() is (how not in {"drop", "gone"})
    assert not (home / "sub").exists()


def test_what_is_taken_back_lands_in_the_project(trees: tuple[Path, Path, Path]) -> None:
    """What an attempt has made, a link that somebody has put there since leads elsewhere."""
    home, other, outside = trees
    (home / "way").unlink()
    (home / "way").mkdir()
    (home / "way/old").write_text("before")
    attempt = replace(task(), tree=str(home), workspace=str(other), definition={})
    undo = Undo()
    with undo.watching(attempt, replace(BASE, created=("way/old",), workspace=str(other)), keep=True):
        os.replace(other / "way/old", home / "way/old")
    (home / "way").rename(outside / "was")
    (home / "way").symlink_to(outside / "was")
    with pytest.raises(LeadsOutError):
        undo.take_back(attempt.address)
    assert (outside / "was/old").read_text() == "theirs"


class Forging(LocalExecutor):
    """A worker that says to have written what no stage may."""

    def events(self, timeout: float) -> list[Any]:
        """As a worker that somebody else has taken over."""
        seen = list(super().events(timeout))
        for at, each in enumerate(seen):
            if isinstance(each, StageResult) and each.returned_files is not None:
                evil = (file(".git/hooks/post-commit", 0o100755), file("sub/.git/config"), file("../../outside"))
                created = (*each.created, *(one.path for one in evil))
                returned_files = replace(each.returned_files, files=(*each.returned_files.files, *evil))
                gone = (".git/HEAD", "/etc/none")
                seen[at] = replace(
                    each, created=created, returned_files=returned_files, deleted=gone, git_added=("../added",)
                )
        return seen


def test_a_worker_elsewhere_that_says_to_have_written_to_git(project: Make, apart: Apart, cloud: Any) -> None:
    root = cloud(project({"dvc.yaml": one("cp in.txt out.txt; echo new > new.txt"), "in.txt": "in\n"}), "forging")
    apart.executor = Forging(apart=True)
    git = stock.sh(root, "find .git -type f ! -name index | sort | xargs sha1sum")
    assert not apart(root).failed
    assert stock.sh(root, "find .git -type f ! -name index | sort | xargs sha1sum") == git
    assert (root / "new.txt").read_text() == "new\n"
    assert "stage 'one' wrote new.txt, which no out declares; kept." in apart.text
    for path in (".git/hooks/post-commit", "sub/.git/config", "../../outside", ".git/HEAD", "/etc/none", "../added"):
        assert f"stage 'one' wrote '{path}', which no stage may write: it is not brought home." in apart.text


@pytest.mark.parametrize("how", ["here", "apart"])
def test_a_repository_that_a_command_makes_in_its_workspace(
    project: Make, locally: Locally, apart: Apart, cloud: Any, how: str
) -> None:
    """Its own, or one further down: the user's branch stays where it is."""
    command = (
        "rm -rf .git; git init -qb evil . && git config core.hooksPath evil; mkdir sub && git init -q sub;"
        " cp in.txt sub/f; cp in.txt out.txt"
    )
    root = project({"dvc.yaml": one(command), "in.txt": "in\n"})
    before = stock.sh(root, "git branch --show-current; git rev-parse HEAD; git config --list --local | sort")
    run = locally if how == "here" else apart
    run(root if how == "here" else cloud(root, "makes"))
    after = stock.sh(root, "git branch --show-current; git rev-parse HEAD; git config --list --local | sort")
    assert after == before
    assert not (root / "sub/.git").exists()


def test_an_out_by_way_of_a_link_out_of_the_project(project: Make, locally: Locally, tmp_path: Path) -> None:
    text = one("cp in.txt far/out.txt").replace("[out.txt]", "[far/out.txt: {cache: false}]")
    root = project({"dvc.yaml": text, "in.txt": "in\n"})
    (tmp_path / "outside").mkdir()
    (root / "far").symlink_to(tmp_path / "outside")
    stock.sh(root, "git add far && git commit -qm far")
    other = twin(root)
    theirs = stock.dvc(other, "repro")
    result = locally(root)
    assert (theirs == 0) is result.ok
    assert_same_files(other, root)
    assert not locally.warnings


def test_what_dvc_refuses_to_take_costs_no_other_stage(project: Make, locally: Locally) -> None:
    """As an out that the user commits while the stages run."""
    text = """
stages:
  one: {cmd: cp in.txt one.txt && git -C "$HOMETREE" add -f one.txt, deps: [in.txt], outs: [one.txt]}
  two: {cmd: cp in.txt two.txt, deps: [in.txt], outs: [two.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": "in\n"})
    (root / "one.txt").write_text("mine\n")
    text = text.replace("$HOMETREE", str(root))
    (root / "dvc.yaml").write_text(text)
    found = {report.address: report for report in locally(root, RunRequest(on_error=OnError.KEEP_GOING)).reports}
    assert found["two"].state is StageState.DONE
    assert found["one"].state is StageState.FAILED
    assert "DVC does not take its result: " in found["one"].error
    assert "already tracked" in found["one"].error
    assert "two" not in str(stock.status(root))
