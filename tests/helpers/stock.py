"""Stock DVC's side of a comparison, and what is compared."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PROJECTS = Path(__file__).parents[1] / "projects"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dvc-ray-tests" / "stock"
"""Outside of the project, so that a fresh clone on the same machine finds it."""


@contextlib.contextmanager
def in_directory(path: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


def sh(root: Path, script: str) -> str:
    """Run commands of the shell; what they print.

    Plain calls of `dvc` among them run in this process, where nothing keeps them from it: a second of a core less each.
    """
    steps = re.split(r"&&|;|\n", script)
    if not _PLAIN_DVC.search(script) or _KEEPS_TOGETHER.search(script):
        return _bash(root, script)
    return "".join(_dvc_said(root, step) if _PLAIN_DVC.match(step) else _bash(root, step) for step in steps)


_PLAIN_DVC = re.compile(r"(?m)(?:^|&&|;)\s*dvc (?=[^&;\n]*(?:&&|;|$))")
_KEEPS_TOGETHER = re.compile(r"""['"$<>|()`#]|\bcd\b|=""")
"""A script with one of these is more than commands one after the other, or may be."""


def _bash(root: Path, script: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _dvc_said(root: Path, command: str) -> str:
    code, said = _dvc(root, *shlex.split(command)[1:])
    assert code == 0, (command, said)
    return said


def dvc(root: Path, *arguments: str) -> int:
    """DVC's own command line, in this process: half a second less a call than a process of its own."""
    return _dvc(root, *arguments, "-q")[0]


def _dvc(root: Path, *arguments: str) -> tuple[int, str]:
    from dvc.cli import main

    said = io.StringIO()
    with warnings.catch_warnings(), in_directory(root), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        return int(main([*arguments])), said.getvalue()


def initialise(root: Path) -> None:
    sh(root, "git init -q")
    assert dvc(root, "init") == 0
    setup = root / "setup.sh"
    if setup.exists():
        script = setup.read_text()
        setup.unlink()
        sh(root, script)
    sh(root, "git add -A && git commit -qm start")


@dataclass(frozen=True)
class Case:
    """A sample project and how to change it."""

    name: str
    param: tuple[str, str, str]
    """File, text, and what replaces it."""
    file: str
    out: str
    args: tuple[str, ...]
    restless: bool
    """Whether stages of it run even if nothing has changed."""
    steps: tuple[str, ...]
    """Those of `STEPS` that it goes through."""
    full: bool
    """Whether it is too slow for `make test`."""

    @classmethod
    def load(cls, name: str) -> Case:
        found = tomllib.loads((PROJECTS / name / "case.toml").read_text())
        file, old, new = found["param"]
        args = tuple(found.get("args", ()))
        steps = tuple(found.get("steps", STEPS))
        assert set(steps) <= set(STEPS)
        return cls(
            name=name,
            param=(file, old, new),
            file=found["file"],
            out=found["out"],
            args=args,
            restless=found.get("restless", False),
            steps=steps,
            full=found.get("full", False),
        )

    def make(self, root: Path) -> None:
        shutil.copytree(PROJECTS / self.name, root)
        (root / "case.toml").unlink()
        initialise(root)

    def change(self, root: Path, step: str) -> None:
        """Do to the project what a step of the scenario says; `STEPS` names them."""
        file, old, new = self.param
        if step == "changed param":
            text = (root / file).read_text()
            assert old in text
            (root / file).write_text(text.replace(old, new))
        elif step == "changed file":
            with (root / self.file).open("a") as stream:
                stream.write("more\n")
        elif step == "deleted lock":
            for lock in root.rglob("dvc.lock"):
                lock.unlink()
        elif step == "deleted out":
            (root / self.out).unlink()
        elif step == "edited out":
            (root / self.out).unlink()
            (root / self.out).write_text("edited\n")


STEPS = (
    "first run",
    "no-op",
    "changed param",
    "changed file",
    "deleted lock",
    "deleted out",
    "edited out",
    "forced",
)


def flags(case: Case, step: str) -> list[str]:
    return [*case.args, *(["--force"] if step == "forced" else [])]


def expected(case: Case, root: Path) -> dict[str, dict[str, str]]:
    """What stock DVC leaves after each step; remembered by what it depends on."""
    remembered = CACHE / f"{case.name}-{_key(case)}.json"
    if remembered.exists():
        found: dict[str, dict[str, str]] = json.loads(remembered.read_text())
        return found
    case.make(root)
    found = {}
    for step in case.steps:
        case.change(root, step)
        assert dvc(root, "repro", *flags(case, step)) == 0
        found[step] = snapshot(root)
    CACHE.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(found))
    return found


def _key(case: Case) -> str:
    parts = [version("dvc"), version("dvc-data"), version("dvclive"), sys.version, Path(__file__).read_text()]
    for path in sorted((PROJECTS / case.name).rglob("*")):
        if path.is_file():
            parts += [str(path.relative_to(PROJECTS)), path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def snapshot(root: Path) -> dict[str, str]:
    """All a run leaves, byte for byte: files with their modes, DVC's cache, what Git and DVC say of it."""
    found = dict(_files(root))
    found["git status"] = sh(root, "git status --porcelain --untracked-files=all")
    found["dvc status"] = json.dumps(status(root), sort_keys=True)
    return found


def status(root: Path) -> object:
    from dvc.repo import Repo

    with in_directory(root), contextlib.closing(Repo()) as repo:
        return repo.status()


def _files(root: Path) -> Iterator[tuple[str, str]]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in {".git", "__pycache__"}]
        if Path(folder).name == ".dvc":
            names.remove("tmp")
        for name in [*files, *(name for name in names if os.path.islink(os.path.join(folder, name)))]:
            path = Path(folder, name)
            yield str(path.relative_to(root)), _describe(path, root)
        if not names and not files:
            yield f"{Path(folder).relative_to(root)}/", "empty folder"


def _describe(path: Path, root: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path).replace(str(root), '<project>')}"
    data = path.read_bytes()
    text = data.decode(errors="backslashreplace") if len(data) < 4096 else hashlib.sha256(data).hexdigest()
    return f"{path.stat().st_mode:o} {text}"


def differences(expected: dict[str, str], actual: dict[str, str]) -> list[str]:
    return [
        f"{name}:\n  stock: {expected.get(name)!r}\n  ours:  {actual.get(name)!r}"
        for name in sorted({*expected, *actual})
        if expected.get(name) != actual.get(name)
    ]
