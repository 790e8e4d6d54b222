"""Ignored and undeclared files of the user's tree: a command sees and writes them as under `dvc repro`."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.repo.inputs.ignored import Ignored, makes_environment, split, without
from dvc_ray.values.report import RunResult
from dvc_ray.values.run import Experiment, RunRequest
from tests.helpers import stock
from tests.helpers.comparing import assert_same_files
from tests.helpers.projects import Make, one, twin
from tests.helpers.runs import Locally

IGNORE = "/.env\n/scratch\n/other.d\n/old\n*.log\n/partly\n__pycache__\n/cfg/local.toml\n/gone\n/again\n/link\n"


def both(root: Path, locally: Locally, *, step: str = "echo") -> tuple[Path, RunResult]:
    """Run stock's and ours on copies of one project, whatever comes of it."""
    other = twin(root)
    stock.dvc(other, "repro")
    result = locally(root)
    for at in (other, root):
        stock.sh(at, step)
    return other, result


COMMANDS = {
    "reads": "test -f .env && cat .env cfg/local.toml scratch/deep/er > out.txt",
    "writes in place": "echo more >> .env; echo x > scratch/new; echo y >> my.log; cp .env out.txt",
    "replaces a file": "echo new > t && mv t .env; echo n > u && mv u my.log; rm cfg/local.toml; echo > out.txt",
    "replaces a folder": "rm -rf scratch; mkdir -p scratch/other; echo 1 > scratch/other/f; echo > out.txt",
    "removes a folder": "rm -r scratch; rm -f my.log; echo > out.txt",
    "folder to file": "rm -rf scratch; echo file > scratch; echo > out.txt",
    "file to folder": "rm my.log; mkdir my.log; echo 1 > my.log/f; echo > out.txt",
    "makes new ones": "mkdir gone; echo 1 > gone/f; echo 1 > other.log; echo > out.txt",
    "lists them": "found=$(ls -A . scratch | grep -v dvc); echo $found > out.txt; find -H scratch -name er >> out.txt",
    "moves a folder": "mv scratch old; echo > out.txt",
    "moves a folder deep": "mkdir -p new/er; mv scratch new/er/old; touch new/er/f; echo > out.txt",
    "moves a folder into another": "mv scratch other.d/; echo > out.txt",
    "moves a folder and makes it anew": "mv scratch old; mkdir scratch; echo 1 > scratch/f; echo > out.txt",
    "moves a folder into itself": "mv scratch t; mkdir scratch; mv t scratch/old; echo > out.txt",
    "swaps two folders": "mv scratch t; mv other.d scratch; mv t other.d; echo > out.txt",
    "moves a folder and back": "mv scratch t; mv t scratch; echo more >> scratch/deep/er; echo > out.txt",
    "moves a folder to an out": "mv scratch out.txt",
    "moves a folder in an out": "mkdir out.txt; mv scratch out.txt/old",
    "copies a folder to an out": "cp -r scratch out.txt",
    "copies a folder in an out": "mkdir out.txt; cp -a scratch other.d out.txt/; touch out.txt/f",
    "copies a folder": "cp -r scratch copy; mkdir copies; cp -r scratch other.d copies/; echo > out.txt",
    "fails after moving a folder": "mv scratch old; exit 3",
    "changes modes": "chmod 600 my.log; chmod +x .env; echo > out.txt",
    "fails after writing": "echo half > .env; rm -r scratch; exit 3",
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_as_under_stock(project: Make, locally: Locally, kind: str) -> None:
    root = project({"dvc.yaml": one(COMMANDS[kind]), "in.txt": "", ".gitignore": IGNORE, "cfg/tracked": ""})
    (root / "scratch/deep").mkdir(parents=True)
    (root / "scratch/deep/er").write_text("er\n")
    (root / ".env").write_text("MODE=production\n")
    (root / "my.log").write_text("history\n")
    (root / "other.d").mkdir()
    (root / "other.d/f").write_text("f\n")
    (root / "cfg/local.toml").write_text("k = 1\n")
    other, _ = both(root, locally)
    assert_same_files(other, root)
    assert not locally.warnings
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/kept"))


PARTLY = """
stages:
  a:
    cmd:
    - cat partly/own > partly/a.txt; echo 1 > partly/undeclared; mkdir -p partly/sub
    - cp partly/a.txt partly/sub/b.txt
    deps: [in.txt]
    outs: [partly/a.txt, partly/sub/b.txt]
  b: {cmd: ls partly partly/sub partly/whole/deep > b.txt, deps: [partly/a.txt, partly/sub/b.txt], outs: [b.txt]}
"""


def test_a_folder_that_is_ignored_with_outs_in_it(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": PARTLY, "in.txt": "", ".gitignore": IGNORE})
    (root / "partly/whole/deep").mkdir(parents=True)
    (root / "partly/whole/deep/f").write_text("f\n")
    (root / "partly/own").write_text("own\n")
    other, _ = both(root, locally)
    assert_same_files(other, root)


def test_an_out_of_another_stage_is_no_dep_by_being_there(project: Make, locally: Locally) -> None:
    text = """
stages:
  a: {cmd: cp in.txt data/a.txt, deps: [in.txt], outs: [data/a.txt]}
  b: {cmd: cat data/a.txt > b.txt, deps: [in.txt], outs: [b.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": "1\n", ".gitignore": "/data\n"})
    (root / "data").mkdir()
    (root / "data/mine").write_text("mine\n")
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    result = locally(root)
    assert "Its output names 'data/a.txt'" in result.failed[0].error
    assert (root / "data/mine").read_text() == "mine\n"


def test_the_bare_workspace_is_there_for_who_wants_it(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "test ! -e .env && test ! -e scratch/f && echo > out.txt"
    root = project({"dvc.yaml": one(command, "{bare_workspace: true}"), "in.txt": "", ".gitignore": IGNORE})
    (root / ".env").write_text("MODE=production\n")
    (root / "scratch").mkdir()
    (root / "scratch/f").write_text("f")
    assert not locally(root).failed
    (root / "dvc.yaml").write_text(one(command))
    force = RunRequest(force=True)
    assert locally(root, force).failed, "it is not what one gets unasked"
    (root / ".dvc/ray.toml").write_text("bare_workspace = true\n")
    assert not locally(root, force).failed
    (root / "dvc.yaml").write_text(one(command, "{bare_workspace: false}"))
    assert locally(root, force).failed, "what the stage says, wins"
    monkeypatch.setenv("DVC_RAY_BARE_WORKSPACE", "true")
    (root / "dvc.yaml").write_text(one(command))
    assert not locally(root, force).failed


def test_what_cannot_be_linked_or_read_is_there_all_the_same(project: Make, locally: Locally) -> None:
    command = "test -L link && test -p partly/pipe && ls partly/socket > out.txt"
    text = (
        one(command)
        .replace("out.txt]", "out.txt, partly/out.txt]")
        .replace("> out.txt", "| tee partly/out.txt > out.txt")
    )
    root = project({"dvc.yaml": text, "in.txt": "", ".gitignore": IGNORE})
    (root / "partly").mkdir()
    os.mkfifo(root / "partly/pipe")
    os.symlink("nowhere", root / "link")
    with socket.socket(socket.AF_UNIX) as listening, stock.in_directory(root):
        listening.bind("partly/socket")
    assert not locally(root).failed
    assert os.readlink(root / "link") == "nowhere"


@pytest.mark.parametrize("temp", [False, True])
def test_in_an_experiment(project: Make, locally: Locally, *, temp: bool) -> None:
    """As under `dvc exp run`, which works in the workspace; with `--temp`, stock has none of them either."""
    command = 'ls -A .env scratch > out.txt 2>&1; echo ${p} >> scratch/seen; echo "p ${p}" > t; mv t .env'
    text = one(command).replace("outs:", "params: [p]\n    outs:")
    root = project({"dvc.yaml": text, "in.txt": "", "params.yaml": "p: 1\n", ".gitignore": IGNORE + "/t\n"})
    (root / "scratch").mkdir()
    (root / "scratch/seen").write_text("before\n")
    (root / ".env").write_text("MODE=production\n")
    other = twin(root)
    flags = ["--temp"] if temp else []
    stock.dvc(other, "exp", "run", "-S", "p=2", "-n", "one", *flags)
    with stock.in_directory(root):
        api.exp_run(Experiment(params=("p=2",), name="one", temp=temp), executor=LocalExecutor())
    assert_same_files(other, root)


def test_two_stages_that_replace_one_file(project: Make, locally: Locally) -> None:
    text = """
stages:
  a: {cmd: "echo a > t.log && mv t.log my.log; echo a > a.txt", deps: [in.txt], outs: [a.txt]}
  b: {cmd: "echo b > t.log && mv t.log my.log; echo b > b.txt", deps: [in.txt], outs: [b.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": "", ".gitignore": "*.log\n"})
    (root / "my.log").write_text("history\n")
    other, _ = both(root, locally)
    assert_same_files(other, root)


def test_folders_are_split_where_dvc_has_something_in_them(tmp_path: Path) -> None:
    for path in ("a/b/c/out", "a/b/x", "a/y/z", "whole/f", "data/out/f", "f.log"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    entries = ("a", "whole", "data/out", "f.log")
    outs = ("a/b/c/out", "data/out")
    found = split(str(tmp_path), entries, outs, (*outs, "a/b/x", "no/where"))
    assert found == Ignored(links=("a/b/x", "a/y", "f.log", "whole"), folders=("a", "a/b", "a/b/c"))
    assert without(found, ["a/b"]) == Ignored(links=("a/y", "f.log", "whole"), folders=("a",))


def test_absolute_paths_made_where_the_command_runs(project: Make, locally: Locally) -> None:
    command = 'cp "$PWD/in.txt" "$(pwd)/out.txt" && cat "$DVC_ROOT/sub/x" >> $PWD/out.txt'
    root = project({"dvc.yaml": one(command), "in.txt": "in\n", "sub/x": "x\n"})
    other, _ = both(root, locally)
    assert_same_files(other, root)


@pytest.mark.parametrize("temp", [False, True])
def test_git_answers_in_an_experiment(project: Make, locally: Locally, *, temp: bool) -> None:
    """What DVC's own directory for an experiment has of Git, with `--temp`; else that of the workspace."""
    asks = "git rev-parse HEAD; git status --porcelain; git describe --tags; git log --oneline; git diff --stat"
    text = one("; ".join(f"{ask} >> out.txt 2>&1" for ask in asks.split("; "))).replace(
        "outs:", "params: [p]\n    outs:"
    )
    root = project({"dvc.yaml": text, "in.txt": "", "params.yaml": "p: 1\n"})
    stock.sh(root, "git tag v1")  # and a value of another size: Git does not look into what is as large and as new
    other = twin(root)
    for command in (("exp", "run", "-S", "p=22", "-n", "one", *(["--temp"] if temp else [])), ("exp", "apply", "one")):
        assert stock.dvc(other, *command) == 0
    with stock.in_directory(root):
        api.exp_run(Experiment(params=("p=22",), name="one", temp=temp), executor=LocalExecutor())
    assert stock.dvc(root, "exp", "apply", "one") == 0
    assert (root / "out.txt").read_text() == (other / "out.txt").read_text()


@pytest.mark.parametrize("place", ["out.txt", "copy"])
def test_what_is_written_into_a_copy_that_was_a_link_is_told(project: Make, locally: Locally, place: str) -> None:
    command = f"cp -r scratch {place}; echo more >> {place}/f; mkdir -p out.txt"
    root = project({"dvc.yaml": one(command), "in.txt": "", ".gitignore": IGNORE})
    (root / "scratch").mkdir()
    (root / "scratch/f").write_text("f\n")
    assert not locally(root).failed
    assert "stage 'one' copied 'scratch', which is a link in its workspace, and wrote to it" in locally.warnings
    assert not (root / place).is_symlink()
    assert (root / place / "f").read_text() == "f\nmore\n"


def test_python_that_does_not_remove_a_link_is_told_what_does(project: Make, locally: Locally) -> None:
    command = "python -c \"import shutil; shutil.rmtree('scratch')\""
    root = project({"dvc.yaml": one(command), "in.txt": "", ".gitignore": IGNORE})
    (root / "scratch").mkdir()
    assert "A folder that Git ignores is a link to yours" in locally(root).failed[0].error


def test_a_folder_that_is_moved_out_of_the_project_stays(project: Make, locally: Locally, tmp_path: Path) -> None:
    root = project({"dvc.yaml": one(f"mv scratch {tmp_path}/away; echo > out.txt"), "in.txt": "", ".gitignore": IGNORE})
    (root / "scratch").mkdir()
    (root / "scratch/f").write_text("f\n")
    assert not locally(root).failed
    assert (root / "scratch/f").read_text() == "f\n"
    assert (tmp_path / "away/f").read_text() == "f\n"
    assert "moved 'scratch', which Git ignores, out of the project: only a link to it was moved" in locally.warnings


def test_a_folder_is_not_moved_over_what_the_command_did_not_see(project: Make, locally: Locally) -> None:
    text = """
stages:
  a: {cmd: cp in.txt old, deps: [in.txt], outs: [old]}
  b: {cmd: mv scratch old && cp in.txt b.txt, deps: [in.txt], outs: [b.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": "in\n", ".gitignore": "/scratch\n"})
    (root / "scratch").mkdir()
    (root / "scratch/f").write_text("f\n")
    assert not locally(root).failed
    assert (root / "scratch/f").read_text() == "f\n"
    assert (root / "old").read_text() == "in\n"
    assert "moved 'scratch', which Git ignores, to 'old', where you have something" in locally.warnings


def test_a_dep_by_way_of_a_link_that_git_tracks(project: Make, locally: Locally) -> None:
    command = "cat latest/x data/v2/y > out.txt"
    root = project({"dvc.yaml": one(command).replace("in.txt", "latest/x"), ".gitignore": "/data\n"})
    (root / "data/v2").mkdir(parents=True)
    (root / "data/v2/x").write_text("x\n")
    (root / "data/v2/y").write_text("y\n")
    os.symlink("data/v2", root / "latest")
    stock.sh(root, "git add -A && git commit -qm link")
    other, result = both(root, locally)
    assert not result.failed
    assert_same_files(other, root)


def test_a_workspace_that_somebody_removes_takes_nothing_of_the_user_s_along(project: Make, locally: Locally) -> None:
    command = "rm -rf .dvc ../*.copies scratch my.log .env; echo > out.txt"
    root = project({"dvc.yaml": one(command), "in.txt": "", ".gitignore": IGNORE})
    (root / "scratch").mkdir()
    (root / "scratch/f").write_text("f\n")
    (root / "my.log").write_text("history\n")
    assert "its workspace was removed while it ran" in locally(root).failed[0].error
    assert (root / "scratch/f").exists()
    assert (root / "my.log").exists()


def test_git_is_told_only_of_links_that_the_user_has_not(project: Make, locally: Locally) -> None:
    """A file that .gitignore names is one in the workspace, too: a folder may have thousands."""
    command = "git status --porcelain -uall data scratch link > out.txt; grep ^/ .git/info/exclude > exclude.txt"
    text = one(command).replace("out.txt]", "out.txt, exclude.txt]")
    ignore = "/data/*\n!/data/kept\n/scratch/\n/link\n"
    root = project({"dvc.yaml": text, "in.txt": "", "data/kept": "", ".gitignore": ignore})
    for folder in ("scratch/deep", "data/folder"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x").touch()
    for number in range(20):
        (root / f"data/{number}").touch()
    os.symlink("nowhere", root / "link")
    assert not locally(root).failed
    assert (root / "out.txt").read_text() == ""
    assert (root / "exclude.txt").read_text() == "/data/folder\n/scratch\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m venv .venv", True),
        ("python3 -mvenv x && x/bin/pip install y", True),
        ("python -m virtualenv e;ls", True),
        ("virtualenv .venv", True),
        ("/usr/bin/virtualenv .venv", True),
        ("uv venv", True),
        ("(uv venv)", True),
        (". venv/bin/activate && python train.py", False),
        ("source virtualenv/bin/activate", False),
        ("venv/bin/python venv.py", False),
        ("ls .venv my-venv", False),
    ],
)
def test_which_command_makes_an_environment(command: str, *, expected: bool) -> None:
    assert makes_environment([command]) is expected
