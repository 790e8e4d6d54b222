"""What stands in the file system where a project has its files; and runs that end at once or not at all."""

from __future__ import annotations

from functools import partial

import pytest

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from tests.helpers.campaign import FIFO, FOLDER, GOOD, NOTHING, SOCKET, Case, Lab, Link, Thing, params, stages


def _dep(name: str, thing: Thing, says: str = "in.txt", *, stock: bool = True) -> Case:
    return Case(f"dep: {name}", {"in.txt": thing}, says, fine=True, stock=stock)


def _many(name: str, files: dict[str, Thing], says: str, dvcyaml: str = GOOD, *, stock: bool = True) -> Case:
    return Case(name, {"dvc.yaml": dvcyaml, **files}, says, fine=None, stock=stock)


IN_FOLDER = stages(one="cmd: ls sub > out.txt, deps: [sub], outs: [out.txt]")
LOCKED = """schema: '2.0'
stages:
  one:
    cmd: cp in.txt out.txt
    deps:
    - {path: in.txt, hash: md5, md5: x, size: 3}
"""
UNTRACKED: dict[str, Thing] = {
    "a\nb": "x",
    "a\x1b[2J": "x",
    "a\u202eb": "x",
    "a\udcff": "x",
    "n" * 250: "x",
    " ": "x",
    "-rf": "x",
    "a'b\"c": "x",
    "fifo": FIFO,
    "socket": SOCKET,
    "loop": Link("loop"),
    "device": Link("/dev/full"),
    "d/" * 60 + "x": "x",
    "\udcff.dvc": "",
    "\udcff/dvc.yaml": GOOD,
    "\x1b[2J/dvc.yaml": "[",
    "a\nb/dvc.yaml": "stages: 5",
}
OUTS: dict[str, Thing] = {
    "a folder": FOLDER,
    "a FIFO": FIFO,
    "a socket": SOCKET,
    "a link to nothing": Link("x"),
    "a link to itself": Link("out.txt"),
    "a link outside": Link("../../../etc/passwd"),
    "a device": Link("/dev/full"),
}
BESIDE: dict[str, Thing] = {
    "a\nb": "x",
    "a\x1b[2J": "x",
    "a\udcff": "x",
    "fifo": FIFO,
    "socket": SOCKET,
    "loop": Link("loop"),
    "device": Link("/dev/full"),
}
FILES = [
    _dep("nothing", NOTHING, "does not exist"),
    _dep("a folder", FOLDER),
    _dep("a FIFO", FIFO, "is a FIFO", stock=False),
    _dep("a socket", SOCKET, "is a socket"),
    _dep("a device", Link("/dev/full"), "is a device", stock=False),
    _dep("a terminal", Link("/dev/ptmx"), "is a device", stock=False),
    _dep("an empty device", Link("/dev/null"), "one"),
    _dep("a link to nothing", Link("nothing"), "leads to nothing"),
    _dep("a link to itself", Link("in.txt")),
    _dep("a link outside", Link("../../nowhere"), "leads to nothing"),
    _dep("a link to a FIFO of the project", Link("sub/fifo"), "leads to nothing"),
    _dep("a link to the root", Link("/"), "in.txt", stock=False),
    _dep("a link to .git", Link(".git"), "one"),
    _dep("a link to .dvc", Link(".dvc/config"), "one"),
    _many("a FIFO that was a dep", {"in.txt": FIFO, "dvc.lock": LOCKED}, "in.txt", stock=False),
    _many("a socket that was a dep", {"in.txt": SOCKET, "dvc.lock": LOCKED}, "in.txt"),
    _many("a device that was a dep", {"in.txt": Link("/dev/full"), "dvc.lock": LOCKED}, "in.txt", stock=False),
    _many("a link to nothing that was a dep", {"in.txt": Link("x"), "dvc.lock": LOCKED}, "in.txt"),
    _many("a FIFO in a folder", {"sub/fifo": FIFO}, "sub", IN_FOLDER, stock=False),
    _many("a socket in a folder", {"sub/socket": SOCKET}, "sub", IN_FOLDER),
    _many("a link to nothing in a folder", {"sub/link": Link("x")}, "sub", IN_FOLDER),
    _many("a link to itself in a folder", {"sub/link": Link("link")}, "sub", IN_FOLDER),
    _many("a link to its folder", {"sub/link": Link(".")}, "sub", IN_FOLDER),
    _many("a link up", {"sub/link": Link("..")}, "sub", IN_FOLDER),
    _many("a name that is no UTF-8 in a folder", {"sub/a\udcff": "x"}, "sub", IN_FOLDER),
    _many("a name with a line end in a folder", {"sub/a\nb": "x"}, "sub", IN_FOLDER),
    _many("a name with an escape in a folder", {"sub/a\x1b[2J": "x"}, "sub", IN_FOLDER),
    _many("a .git in a folder", {"sub/.git": FOLDER}, "sub", IN_FOLDER),
    _many("a .dvc in a folder", {"sub/.dvc": FOLDER}, "sub", IN_FOLDER),
    _many("a broken project in a folder", {"sub/.dvc/config": "[core", "sub/dvc.yaml": "["}, "one", GOOD),
    _many("a broken dvc.yaml in a folder", {"sub/dvc.yaml": "["}, "sub/dvc.yaml", GOOD),
    _many("a broken dvc.yaml in an out", {"out.txt/dvc.yaml": "["}, "dvc.yaml", GOOD),
    *(
        _many(f"untracked: {name!a}", {f"sub/{name}": thing}, "sub/" if "dvc.yaml" in name else "one", GOOD)
        for name, thing in UNTRACKED.items()
    ),
    *(_many(f"out: {name}", {"out.txt": thing}, "one", GOOD) for name, thing in OUTS.items()),
]

NO_UTF8 = b"stages:\n  one:\n    cmd: echo > out.txt\n    deps: ['a\xff']\n"


def _run(
    name: str, files: dict[str, Thing], says: str, *, fine: bool = False, leaves: bool = False, code: int = 255
) -> Case:
    return Case(
        f"run: {name}", files, says, ("repro",), fine=fine, code=None if fine else code, stock=False, leaves=leaves
    )


def _cmd(cmd: str, more: str = "") -> dict[str, Thing]:
    return {"dvc.yaml": stages(one=f"cmd: {cmd}, outs: [o]{more}")}


RUNS = [
    _run("good", {}, "done", fine=True),
    _run("nothing to do", {"dvc.yaml": "stages: {}\n"}, "up to date", fine=True),
    _run("a missing dep", {"in.txt": NOTHING}, "in.txt"),
    _run("a FIFO", {"in.txt": FIFO}, "in.txt"),
    _run("a socket", {"in.txt": SOCKET}, "in.txt"),
    _run("a device", {"in.txt": Link("/dev/full")}, "in.txt"),
    _run("a link to nothing", {"in.txt": Link("x")}, "in.txt"),
    _run("a link to itself", {"in.txt": Link("in.txt")}, "in.txt"),
    _run("a FIFO in a folder", {"dvc.yaml": IN_FOLDER, "sub/fifo": FIFO}, "fifo"),
    _run("missing params", {"dvc.yaml": stages(one="cmd: 'true', params: [x]")}, "x"),
    _run(
        "a file of params that is missing", {"dvc.yaml": stages(one="cmd: 'true', params: [{q.yaml: [x]}]")}, "q.yaml"
    ),
    _run("params that are a FIFO", {"dvc.yaml": stages(one="cmd: 'true', params: [{q: [x]}]"), "q": FIFO}, "'q'"),
    _run("a cmd with NUL", _cmd('"a\\0b"'), "one"),
    _run("a cmd with a surrogate", _cmd('"echo \\ud800"'), "one"),
    _run("a cmd that is a number", _cmd("[5]"), "one"),
    _run("a cmd that is null", _cmd("[null]"), "one"),
    _run("a cmd that is a map", _cmd("[{a: 1}]"), "one"),
    _run("a cmd that is too long", _cmd(f"'echo {'x' * 200_000} > o'"), "one"),
    _run("a cmd that is not there", _cmd("nothing-of-that-name"), "127"),
    _run(
        "a cmd that hides its output",
        _cmd('''"printf '\\\\033]0;title\\\\007\\\\033[2J\\\\033[3Areal'; exit 3"'''),
        "one | real",
    ),
    _run("no out", _cmd("'true'"), "'o'"),
    _run("an out that is a FIFO", _cmd("mkfifo o"), "'o'", leaves=True),
    _run("an out that is a device", _cmd("ln -s /dev/full o"), "'o'", leaves=True),
    _run("an out that links to nothing", _cmd("ln -s nothing o"), "'o'", leaves=True),
    _run("an out that links to itself", _cmd("ln -s o o"), "'o'", leaves=True),
    _run("an out that has a FIFO", _cmd("mkdir o && mkfifo o/fifo"), "fifo", leaves=True),
    _run("an out with a name that is no UTF-8", _cmd('''"mkdir o; touch o/$(printf 'a\\\\377')"'''), "o", leaves=True),
    _run("an out that is .git", {"dvc.yaml": stages(one="cmd: 'true', outs: [{.git/config: {cache: false}}]")}, ".git"),
    _run("a wdir with NUL", {"dvc.yaml": stages(one="cmd: 'true', wdir: \"a\\0b\"")}, "one"),
    _run("a wdir that is missing", {"dvc.yaml": stages(one="cmd: 'true', wdir: missing")}, "missing"),
    _run("a wdir that is a file", {"dvc.yaml": stages(one="cmd: 'true', wdir: in.txt")}, "in.txt"),
    _run("an include that is missing", {"dvc.yaml": GOOD + "    meta: {ray: {include: [nothing]}}\n"}, "nothing"),
    _run("an include with NUL", {"dvc.yaml": GOOD + '    meta: {ray: {include: ["a\\0b"]}}\n'}, "one"),
    _run("an include that is a FIFO", {"dvc.yaml": GOOD + "    meta: {ray: {include: [f]}}\n", "f": FIFO}, "'f'"),
    _run("env with a surrogate", {"dvc.yaml": GOOD + '    meta: {ray: {env: {A: "\\ud800"}}}\n'}, "one"),
    _run("a broken dvc.yaml", {"dvc.yaml": "["}, "dvc.yaml"),
    _run("a broken dvc.lock", {"dvc.lock": "["}, "dvc.lock"),
    _run("a broken rwlock", {".dvc/tmp/rwlock": "{"}, "rwlock"),
    _run("tmp is a file", {".dvc/tmp": "mine"}, ".dvc/tmp"),
    _run("ray is a file", {".dvc/tmp/ray": "mine"}, ".dvc/tmp/ray"),
    _run("ray is a link to itself", {".dvc/tmp/ray": Link("ray")}, ".dvc/tmp/ray"),
    _run("ray is a FIFO", {".dvc/tmp/ray": FIFO}, ".dvc/tmp/ray"),
    _run("runs is a file", {".dvc/tmp/ray/runs": "mine"}, ".dvc/tmp/ray/runs"),
    _run("the lock is a folder", {".dvc/tmp/ray/lock": FOLDER}, ".dvc/tmp/ray/lock"),
    _run("a run is a file", {".dvc/tmp/ray/runs/x": "mine"}, ".dvc/tmp/ray/runs/x"),
    _run("a driver is a folder", {".dvc/tmp/ray/runs/x/driver.json": FOLDER}, "driver.json"),
    _run("a driver is broken", {".dvc/tmp/ray/runs/x/driver.json": "["}, "done", fine=True),
    _run("a driver is a list", {".dvc/tmp/ray/runs/x/driver.json": "[]"}, "done", fine=True),
    _run("a driver is no UTF-8", {".dvc/tmp/ray/runs/x/driver.json": b"\xff"}, "done", fine=True),
    _run("a driver is deep", {".dvc/tmp/ray/runs/x/driver.json": "[" * 100_000}, "done", fine=True),
    _run("a result is broken", {".dvc/tmp/ray/runs/x/work/one.result": "broken"}, "done", fine=True),
    _run("a result is a folder", {".dvc/tmp/ray/runs/x/work/one.result": FOLDER}, "done", fine=True),
    _run("a note of the remote is broken", {".dvc/tmp/ray/runs/x/work/remote.result": b"\xff"}, "done", fine=True),
    _run("the cache is a file", {".dvc/cache": "mine"}, ".dvc/cache", leaves=True),
    _run("the run cache is a file", {".dvc/cache/runs": "mine"}, ".dvc/cache/runs", leaves=True),
    _run("Git has no HEAD yet", {".git/HEAD": "ref: refs/heads/unborn\n"}, "done", fine=True),
    _run("Git's index is broken", {".git/index": "broken"}, "git"),
    _run("Git's info is a file", {".git/info": "mine"}, ".git/info"),
    _run("a dvc.lock that is a link to itself", {"dvc.lock": Link("dvc.lock")}, "dvc.lock"),
    _run("a .gitignore that is a folder", {".gitignore": FOLDER}, ".gitignore"),
    _run("a .gitignore that is a FIFO", {".gitignore": FIFO}, ".gitignore"),
    _run("a .gitignore below that is a FIFO", {"sub/.gitignore": FIFO}, "sub/.gitignore"),
    _run("a .dvcignore below that is a FIFO", {"sub/.dvcignore": FIFO}, "sub/.dvcignore"),
    _run("a dvc.yaml below that is a FIFO", {"sub/dvc.yaml": FIFO}, "sub/dvc.yaml"),
    _run("Git's attributes are a FIFO", {".gitattributes": FIFO}, "done", fine=True),
    _run("ray.toml is a FIFO", {".dvc/ray.toml": FIFO}, "ray.toml", code=251),
    _run("a lock of DVC is a FIFO", {".dvc/tmp/lock": FIFO}, ".dvc/tmp/lock"),
    _run("a .gitignore that is no UTF-8", {".gitignore": b"\xff\n"}, "done", fine=True),
    *(_run(f"beside it {name!a}", {f"sub/{name}": thing}, "done", fine=True) for name, thing in BESIDE.items()),
]


@pytest.mark.parametrize("case", params(FILES))
def test_a_file(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(RUNS))
def test_a_run(lab: Lab, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray: what is refused is so before it would be started, and what runs, runs in this process."""
    monkeypatch.setattr(api, "repro", partial(api.repro, executor=LocalExecutor()))
    lab.check(case)
