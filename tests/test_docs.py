"""The commands that the pages show, run in order in a project made of the page's own files.

A comment before a block says what it is: ``<!-- file: dvc.yaml -->`` the file that the block is, and
``<!-- exit code: 255 -->`` that the last command of the block is meant to end so; else 0. The lines below a command are
lines that it must print.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.messages import is_said, templates
from tests.helpers.seaweed import Server

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["tutorial.md", "how-to/environment.md", "how-to/undeclared-inputs.md", "how-to/gpu.md", "reference/python.md"]
_BLOCK = re.compile(r"(?:<!-- ([a-z ]+): (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    key: str
    value: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    text: str
    prints: tuple[str, ...]
    exit_code: int


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(text)]


def commands(block: Block) -> Iterator[Command]:
    first, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not first, "a block begins with a command"
    for part in parts:
        command, *lines = part.splitlines()
        last = part is parts[-1] and block.key == "exit code"
        yield Command(command, tuple(line for line in lines if line), int(block.value) if last else 0)


def test_the_tests_that_a_promise_names_are_there() -> None:
    text = (DOCS.parent / "SECURITY.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 20
    for file, name in named:
        found = (DOCS.parent / "tests" / file).read_text()
        assert f"def {name}(" in found if name else "def test_" in found, (file, name)


def run(command: Command, root: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", command.text], cwd=root, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == command.exit_code, (command.text, said)
    for line in command.prints:
        assert line in said.splitlines(), (command.text, line, said)


@pytest.fixture
def environ(on_shared_ray: dict[str, str]) -> dict[str, str]:
    """As a user's shell, but with the tests' Ray."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**on_shared_ray, "PATH": path, "COLUMNS": "200"}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(page: str, tmp_path: Path, environ: dict[str, str]) -> None:
    found = blocks((DOCS / page).read_text())
    if page != "tutorial.md":  # which makes its own repository
        for line in ("git init -q", "dvc init -q"):
            run(Command(line, (), 0), tmp_path, environ)
    for block in found:
        if block.key == "file":
            path = tmp_path / block.value
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if block.value == ".gitignore" else "w") as stream:
                stream.write(block.text)
        elif block.language == "console":
            for command in commands(block):
                run(command, tmp_path, environ)


def test_the_commands_to_set_up_a_remote(tmp_path: Path, environ: dict[str, str], s3: Server) -> None:
    url = s3.bucket("my-bucket")
    keys = {"AWS_ENDPOINT_URL": s3.url, "AWS_ACCESS_KEY_ID": s3.owner.key, "AWS_SECRET_ACCESS_KEY": s3.owner.secret}
    (tmp_path / "data.txt").write_text("data\n")
    for line in ("git init -q", "dvc init -q", "dvc add -q data.txt"):
        run(Command(line, (), 0), tmp_path, environ)
    shown = [block for block in blocks((DOCS / "how-to/remote.md").read_text()) if block.language == "console"]
    assert url == "s3://my-bucket"
    for command in (command for block in shown for command in commands(block)):
        run(command, tmp_path, {**environ, **keys, "AWS_REGION": "us-east-1"})
    run(Command("dvc status --cloud", (), 0), tmp_path, {**environ, **keys, "AWS_REGION": "us-east-1"})


OF_RAY = "Failed to connect to Ray cluster"
"""A reason that Ray gives; it follows one of our messages."""


def test_messages_that_are_explained_are_ours() -> None:
    known = templates(DOCS.parent / "src")
    rows = re.findall(r"^\| (`.*?`.*?) \|", (DOCS / "how-to/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 30
    for message in (found for row in rows for found in re.findall(r"`(.*?)`", row)):
        assert is_said(message.replace(OF_RAY, "…"), known), message


README_PROJECT = {
    "dvc.yaml": "stages: {train: {cmd: cp params.yaml model.txt, params: [train.lr], outs: [model.txt]}}",
    "params.yaml": "train: {lr: 0.3}\n",
}


def test_the_commands_of_the_readme(tmp_path: Path, environ: dict[str, str]) -> None:
    """All of dvc-ray and DVC, in the order of the page, on a project that has what they name."""
    for path, text in README_PROJECT.items():
        (tmp_path / path).write_text(text)
    for line in ("git init -q", "dvc init -q", "git add .", "git commit -qm first"):
        run(Command(line, (), 0), tmp_path, environ)
    text = (DOCS.parent / "README.md").read_text()
    found = re.findall(r"^\$ (dvc(?:-ray)? .*?)(?: &)?(?: +#.*)?$", text, re.MULTILINE)
    assert len(found) > 8
    for line in found:
        run(Command(line.replace("dvc exp show", "dvc exp show --no-pager"), (), 0), tmp_path, environ)
    assert "0.1" in (tmp_path / "model.txt").read_text(), "the experiment without --temp was applied"


def test_every_page_with_commands_is_run() -> None:
    elsewhere = {"how-to/resources-and-retries.md", "how-to/remote.md", "how-to/troubleshooting.md"}
    elsewhere.add("how-to/shared-file-system.md")  # by tests/hosts/test_shared_folder.py
    elsewhere.add("how-to/debug-a-stage.md")  # by tests/test_debug.py, on a terminal
    shown = [DOCS / "tutorial.md", DOCS / "reference/python.md", *(DOCS / "how-to").glob("*.md")]
    assert {str(page.relative_to(DOCS)) for page in shown} == {*PAGES, *elsewhere}
