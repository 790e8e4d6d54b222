"""A case of the campaign: what is broken or hostile in a project, and what has to be said of it.

All cases have one project, made anew from a template for each, and run the real command line in this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import stat
import sys
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.cli import main
from dvc_ray.executors.local import LocalExecutor
from tests.helpers import stock

LIMIT = 10
"""Seconds after which a case hangs; the slowest takes one."""
CODES = {0, 1, *range(250, 256)}
REMEMBERED = stock.CACHE.with_name("hostile")
GOOD = "stages:\n  one:\n    cmd: cp in.txt out.txt\n    deps: [in.txt]\n    outs: [out.txt]\n"
"""The template's dvc.yaml."""
DIGITS = "9" * 5000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


@dataclass(frozen=True)
class Special:
    """What is no file, no folder and no link: "fifo", "socket"; or an empty "folder", or "nothing" at all."""

    kind: str


Thing = str | bytes | Link | Special
FIFO, SOCKET, FOLDER, NOTHING = Special("fifo"), Special("socket"), Special("folder"), Special("nothing")


@dataclass(frozen=True)
class Case:
    """What is put into a good project, what is called, and what has to come of it."""

    name: str
    files: Mapping[str, Thing] = field(default_factory=dict)
    says: str = ""
    """A text of the output: it names the culprit."""
    args: tuple[str, ...] = ("repro", "--dry")
    env: Mapping[str, str] = field(default_factory=dict)
    fine: bool | None = False
    """Whether the command ends well: it may still say that a stage will fail. None: as stock."""
    code: int | None = None
    """The exit code, where it matters which."""
    stock: bool = True
    """Whether stock is asked whether it refuses that; not where it hangs, or knows nothing of the setting."""
    remembered: bool = True
    """Whether stock's answer is worth a file: not of what was made by chance."""
    leaves: bool = False
    """Whether a command has run, so that something of it stays although it failed."""
    cwd: str = "."
    """Where it is called."""

    @property
    def key(self) -> str:
        """What stock's answer is remembered by."""
        parts = (version("dvc"), sys.version, GOOD, repr(self))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:24]

    @property
    def for_stock(self) -> tuple[str, ...]:
        return tuple(argument for argument in self.args if argument != "--json")


@dataclass(frozen=True)
class Said:
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class HungError(BaseException):
    """A case has taken longer than any should; nothing that is tested may catch it."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Interrupt what hangs."""

    def interrupt(_number: int, _frame: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def stages(**found: str) -> str:
    return "stages:\n" + "".join(f"  {name}: {{{text}}}\n" for name, text in found.items())


def params(cases: list[Case]) -> list[Any]:
    """The cases as pytest wants them."""
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return [pytest.param(case, id=case.name) for case in cases]


class Lab:
    """The project of all cases.

    Args:
        folder: A new one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template"
        self.root = folder / "outer" / "project"
        self._template.mkdir()
        for name, text in {"dvc.yaml": GOOD, "in.txt": "in\n", "sub/keep.txt": "", "params.yaml": "p: 1\n"}.items():
            (self._template / name).parent.mkdir(exist_ok=True)
            (self._template / name).write_text(text)
        stock.sh(self._template, "git init -q --template=")
        assert stock.dvc(self._template, "init") == 0
        stock.sh(self._template, "git add -A && git commit -qm start")

    def make(self, case: Case) -> None:
        """Make the project anew."""
        shutil.rmtree(self.root.parent, ignore_errors=True)
        shutil.copytree(self._template, self.root, symlinks=True)
        for name, thing in case.files.items():
            _put(os.path.join(self.root, name), thing)

    def stock(self, case: Case) -> bool:
        """Whether stock refuses it."""
        remembered = REMEMBERED / f"{case.key}.json"
        if remembered.exists():
            return bool(json.loads(remembered.read_text()))
        from dvc.cli import main as stock_main

        self.make(case)
        with self._at(case), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = _code(lambda: stock_main([*case.for_stock, "-q"]))
        if case.remembered:
            REMEMBERED.mkdir(parents=True, exist_ok=True)
            remembered.write_text(json.dumps(code != 0))
        return code != 0

    def ours(self, case: Case) -> Said:
        """What our command line says of it."""
        out, err = io.StringIO(), io.StringIO()
        with self._at(case), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _code(lambda: main(case.args))
        return Said(code, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def _at(self, case: Case) -> Iterator[None]:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), limited():
            warnings.simplefilter("ignore")
            patch.setenv("XDG_CONFIG_HOME", str(self._folder / "config"))
            # What runs here is not about Ray, and one Ray may be in this process already.
            patch.setattr("dvc_ray.api.run.on_this_machine", lambda *_: LocalExecutor())
            for name, text in case.env.items():
                patch.setenv(name, text)
            patch.chdir(self.root / case.cwd)
            try:
                yield
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def check(self, case: Case) -> None:
        """Run a case, and see what became of it."""
        refuses = case.stock and self.stock(case)
        self.make(case)
        # An experiment is planned in a copy that Git makes, as by stock: objects and logs of that stay.
        without = [".git"] if case.args[:1] == ("exp",) else []
        before = snapshot(self.root.parent, without)
        said = self.ours(case)
        assert "Traceback" not in said.text, said
        assert "unexpected error" not in said.text, said
        assert said.code in CODES, said
        assert not [c for c in said.text if c not in "\n\t" and unicodedata.category(c) in {"Cc", "Cf", "Cs"}], said
        ends_well = said.code == 0 and "will fail" not in said.text
        assert case.says in said.text or (case.fine is None and ends_well), (case.says, said)
        assert case.fine is None or (said.code == 0) is case.fine, said
        assert case.code is None or said.code == case.code, said
        assert not (refuses and ends_well), ("stock refuses it", said)
        if "--dry" in case.args or (said.code and not case.leaves):
            after = snapshot(self.root.parent, without)
            assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set()


def _code(call: Callable[[], int]) -> int:
    """The exit code of a command line, also where it raises it."""
    try:
        return int(call())
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def _put(path: str, thing: Thing) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if isinstance(thing, Link):
        os.symlink(thing.to, path)
    elif isinstance(thing, Special):
        _put_special(path, thing.kind)
    else:
        Path(path).write_bytes(thing.encode("utf-8", "surrogateescape") if isinstance(thing, str) else thing)


def _put_special(path: str, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "socket":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as made, stock.in_directory(Path(path).parent):
            made.bind(os.path.basename(path))


def snapshot(root: Path, without: Collection[str] = ()) -> dict[str, str]:
    """All that is in a folder, byte for byte, but for what is DVC's own and temporary."""
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in without]
        if os.path.basename(folder) == ".dvc":
            names[:] = [name for name in names if name != "tmp"]
        for name in [*names, *(name for name in files if os.path.basename(folder) != ".dvc" or name != "tmp")]:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = _look(path)
    return found


def _look(path: str) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"-> {os.readlink(path)}"
    data = Path(path).read_bytes() if stat.S_ISREG(mode) else b""
    return f"{mode:o} {hashlib.sha256(data).hexdigest()}"
