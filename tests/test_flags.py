"""The flags of `dvc repro` and `dvc exp run`: all of them, and what they do."""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dvc_ray.cli.options import _NOT_HERE, make_parser
from dvc_ray.cli.output import texts
from dvc_ray.values import wire
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Locally
from tests.helpers.terminal import Terminal

pytestmark = pytest.mark.core

ROOT = Path(__file__).parents[1]
FILES = {
    "dvc.yaml": """
stages:
  first:
    cmd: cat data.txt > first.txt; echo ${kind} > kind.txt
    deps: [data.txt]
    params: [kind]
    outs: [first.txt, kind.txt]
  second:
    cmd: mkdir -p folder; cp first.txt folder/a; echo b > folder/b
    deps: [first.txt]
    outs: [folder]
    metrics: []
  third:
    cmd: 'echo "a: 1" > third.yaml; ls folder'
    deps: [folder]
    metrics:
      - third.yaml:
          cache: false
""".replace("    metrics: []\n", ""),
    "params.yaml": "kind: 1\n",
    "data.txt": "data\n",
    "setup.sh": "dvc add -q data.txt; mkdir ../remote; dvc remote add -q -d r ../remote",
}

Twins = Callable[[], tuple[Path, Path]]


@pytest.fixture
def twins(project: Make, tmp_path: Path) -> Twins:
    """A project that has run and was pushed, twice: for stock DVC and for us."""

    def make() -> tuple[Path, Path]:
        theirs = project(FILES)
        assert stock.dvc(theirs, "repro") == 0
        assert stock.dvc(theirs, "push", "--run-cache") == 0
        ours = tmp_path / "ours" / "project"
        shutil.copytree(
            tmp_path, ours.parent, symlinks=True, ignore=lambda folder, _: ["ours"] * (folder == str(tmp_path))
        )
        return theirs, ours

    return make


def lose_data(root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "folder")
    for name in ("data.txt", "first.txt", "kind.txt"):
        (root / name).unlink()


def same(theirs: Path, ours: Path) -> list[str]:
    return stock.differences(stock.snapshot(theirs), stock.snapshot(ours))


def test_force_downstream(twins: Twins, locally: Locally) -> None:
    both = twins()
    for root in both:
        (root / "params.yaml").write_text("kind: 2\n")
    assert stock.dvc(both[0], "repro", "--force-downstream") == 0
    result = locally(both[1], RunRequest(force_downstream=True))
    assert {state for name, state in states(result).items() if name != "data.txt.dvc"} == {StageState.DONE}
    assert same(*both) == []


def test_allow_missing(twins: Twins, locally: Locally) -> None:
    both = twins()
    for root in both:
        lose_data(root)
    assert stock.dvc(both[0], "repro", "--allow-missing", "third") == 0
    result = locally(both[1], RunRequest(targets=("third",), allow_missing=True))
    assert set(states(result).values()) == {StageState.UNCHANGED}
    assert same(*both) == []


@pytest.mark.parametrize("change", ["none", "param"])
def test_pull(twins: Twins, locally: Locally, change: str) -> None:
    both = twins()
    for root in both:
        lose_data(root)
        if change == "param":
            (root / "params.yaml").write_text("kind: 2\n")
    assert stock.dvc(both[0], "repro", "--pull") == 0
    result = locally(both[1], RunRequest(pull=True))
    expected = StageState.DONE if change == "param" else StageState.UNCHANGED
    assert states(result)["first"] is expected
    assert same(*both) == []


def test_no_commit(twins: Twins, locally: Locally) -> None:
    both = twins()
    for root in both:
        (root / "params.yaml").write_text("kind: 2\n")
        shutil.rmtree(root / ".dvc" / "cache" / "runs")
    assert stock.dvc(both[0], "repro", "--no-commit", "--force") == 0
    locally(both[1], RunRequest(commit=False, force=True))
    assert same(*both) == []


def test_ignore_errors(twins: Twins, locally: Locally) -> None:
    both = twins()
    for root in both:
        text = (root / "dvc.yaml").read_text()
        (root / "dvc.yaml").write_text(text.replace("cmd: mkdir -p folder;", "cmd: mkdir -p folder; exit 3;"))
    assert stock.dvc(both[0], "repro", "--ignore-errors") == 0
    result = locally(both[1], RunRequest(on_error=OnError.IGNORE))
    assert result.failed
    assert result.ok
    assert wire.encode_event(result)["ok"]
    assert texts.summary(result)[-1] == "Use `dvc push` to send your updates to remote storage."
    assert states(result)["second"] is StageState.FAILED
    assert states(result)["third"] is not StageState.BLOCKED
    assert same(*both) == []


def test_interactive(project: Make, on_shared_ray: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", on_shared_ray["RAY_ADDRESS"])
    root = project({"dvc.yaml": FILES["dvc.yaml"], "params.yaml": "kind: 1\n", "data.txt": ""})
    terminal = Terminal(root, "repro", "-i", "second")
    with contextlib.closing(terminal):
        assert "Going to reproduce stage: 'first'. Are you sure you want to continue? [y/n]" in terminal.read_until(
            "[y/n]"
        )
        terminal.say("y\n")
        assert "'second'" in terminal.read_until("[y/n]")
        terminal.say("n\n")
        assert "reproduction aborted by the user" in terminal.read_until("failed to reproduce")
        assert terminal.process.wait(60) == 255
    assert (root / "first.txt").exists()
    assert not (root / "folder").exists()


def test_interactive_without_a_terminal(project: Make, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    root = project({"dvc.yaml": FILES["dvc.yaml"], "params.yaml": "kind: 1\n", "data.txt": ""})
    done = cli(root, "repro", "--interactive")
    assert (done.returncode, "needs a terminal" in done.stderr) == (254, True)


def flags(parser: argparse.ArgumentParser, *path: str) -> set[str]:
    """All option strings of a command."""
    for name in path:
        action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
        parser = action.choices[name]
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return {option for action in shown for option in action.option_strings}


@pytest.mark.parametrize("path", [("repro",), ("exp", "run")])
def test_no_flag_of_dvc_is_missed(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.cli.parser import get_main_parser

    monkeypatch.setattr(sys, "argv", ["dvc"])  # with a -v in it, DVC's parser has more flags (dvc._debug)
    get_main_parser.cache_clear()  # whoever runs pytest may have given one
    theirs = flags(get_main_parser(), *path)
    assert theirs - flags(make_parser(), *path) == set(_NOT_HERE) & theirs, "each is there, or refused by name"
    documented = set(re.findall(r"`(--?[A-Za-z][\w-]*)", (ROOT / "docs/reference/dvc-flags.md").read_text()))
    assert theirs - documented == set(), "each has its row in docs/reference/dvc-flags.md"
