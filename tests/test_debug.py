"""``dvc-ray repro --debug STAGE``: one stage in the command line's own process and terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.runs import Cli
from tests.helpers.terminal import Terminal

CODE = """
import os, pathlib, sys
value = pathlib.Path("in.txt").read_text()
breakpoint()
pathlib.Path("out.txt").write_text(value + os.path.basename(os.path.dirname(os.getcwd())))
"""


@pytest.fixture(autouse=True)
def _no_other_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sets that in a process that has joined it, as that of the tests may have."""
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)


def on_terminal(project: Make, code: str = CODE) -> Path:
    text = f"stages: {{one: {{cmd: {sys.executable} code.py, deps: [in.txt, code.py], outs: [out.txt]}}}}"
    return project({"dvc.yaml": text, "in.txt": "given ", "code.py": code})


def test_a_breakpoint_stops_on_the_terminal(project: Make) -> None:
    root = on_terminal(project)
    terminal = Terminal(root, "repro", "--debug", "one")
    terminal.read_until("(Pdb)")
    terminal.say("p value.upper()\n")
    assert "'GIVEN '" in terminal.read_until("'GIVEN '")
    terminal.say("c\n")
    said = terminal.read_until("Use `dvc push`")
    assert terminal.process.wait(60) == 0, said
    assert (root / "out.txt").read_text() == "given work", "it ran in a workspace"
    assert stock.status(root) == {}
    terminal.close()


def test_a_stage_that_is_unchanged_runs_too_and_may_be_quit(project: Make) -> None:
    root = on_terminal(project)
    (root / "code.py").write_text(CODE.replace("breakpoint()", ""))
    assert stock.dvc(root, "repro") == 0
    (root / "code.py").write_text(CODE)
    terminal = Terminal(root, "repro", "--debug", "one")
    terminal.read_until("(Pdb)")
    terminal.say("q\n")
    assert "failed to reproduce 'one'" in terminal.read_until("failed to reproduce 'one'")
    assert terminal.process.wait(60) == 255
    terminal.close()


def test_ctrl_c_is_the_commands(project: Make) -> None:
    root = on_terminal(project, "import time\nprint('waiting', flush=True)\ntime.sleep(100)\n")
    terminal = Terminal(root, "repro", "--debug", "one")
    terminal.read_until("waiting")
    terminal.say("\x03")
    said = terminal.read_until("failed to reproduce")
    assert "KeyboardInterrupt" in said, "the program's own"
    assert "stopped" in said
    assert terminal.process.wait(60) == 255
    terminal.close()


MATRIX = """
stages:
  one:
    matrix: {n: [1, 2]}
    cmd: echo ${item.n} > ${item.n}.txt
    outs: ['${item.n}.txt']
"""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--debug", "one@1", "one@2"), "--debug runs one stage with this terminal: it does not go with other targets"),
        (("--debug", "one@1", "--json"), "--debug runs one stage with this terminal: it does not go with --json"),
        (("--debug", "one"), "'one' names 2 stages, and --debug runs one\n"),
        (("--debug", "two"), "Stage 'two' not found"),
    ],
)
def test_what_is_not_one_stage_is_refused(project: Make, cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    root = project({"dvc.yaml": MATRIX})
    done = cli(root, "repro", *arguments)
    assert done.returncode in {254, 255}
    assert says in done.stderr
    assert not (root / "dvc.lock").exists()
