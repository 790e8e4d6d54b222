"""Projects that tests make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.helpers import stock

Make = Callable[[dict[str, str]], Path]
"""Makes a Git and DVC project from texts by path: the fixture `project`."""
Cloud = Callable[[Path, str], Path]
"""Gives a project a remote of its own: the fixture `cloud`."""


CHAIN = """
stages:
  first:
    cmd: cat in.txt > first.txt
    deps: [in.txt]
    params: [rows]
    outs: [first.txt]
  second:
    cmd: cat first.txt > second.txt
    deps: [first.txt]
    outs: [second.txt]
  other:
    cmd: echo other > other.txt
    deps: [in.txt]
    outs: [other.txt]
"""


def chain(project: Make, **files: str) -> Path:
    return project({"dvc.yaml": CHAIN, "in.txt": "in\n", "params.yaml": "rows: 1\n", **files})


def one(cmd: str, ray: str = "", **more: str) -> str:
    """A dvc.yaml with one stage."""
    meta = f"    meta: {{ray: {ray}}}\n" if ray else ""
    extra = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"stages:\n  one:\n    cmd: {json.dumps(cmd)}\n    deps: [in.txt]\n    outs: [out.txt]\n{meta}{extra}"


def twin(root: Path) -> Path:
    """A copy of a project for stock DVC."""
    other = root.parent / "stock" / root.name
    other.parent.mkdir()
    stock.sh(root, f"cp -a '{root}' '{other}'")
    return other
