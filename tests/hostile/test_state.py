"""What DVC and Git keep beside dvc.yaml: dvc.lock, .dvc files, .dvcignore, .gitignore, configuration, .git."""

from __future__ import annotations

import pytest

from tests.helpers.campaign import BOMB, DIGITS, FIFO, FOLDER, NOTHING, SOCKET, Case, Lab, Link, Thing, params

MD5 = "f" * 32
ENTRY = f"""schema: '2.0'
stages:
  one:
    cmd: cp in.txt out.txt
    deps:
    - path: in.txt
      hash: md5
      md5: {MD5}
      size: 3
    outs:
    - path: out.txt
      hash: md5
      md5: {MD5}
      size: 3
"""
BROKEN: dict[str, Thing] = {
    "tab": "\t",
    "NUL": "\0",
    "no UTF-8": b"\xff\xfe\xfa",
    "UTF-16": ENTRY.encode("utf-16"),
    "a list": "[1]",
    "a text": "text",
    "a number": "5",
    "a date": "2020-01-01",
    "no date": "a: 2020-13-01",
    "a tag": "!!python/name:os.system",
    "deep": "[" * 700,
    "of itself": "a: &a [*a]\n",
    "a bomb": BOMB,
    "digits": f"a: {DIGITS}\n",
    "cut": ENTRY[:97],
    "conflict": f"<<<<<<< HEAD\n{ENTRY}=======\n{ENTRY}>>>>>>> theirs\n",
    "unknown keys": "unknown: 1\n",
    "an escape": '"\\e[2J": 1\n',
    "a folder": FOLDER,
    "a FIFO": FIFO,
    "a socket": SOCKET,
    "a link to itself": Link("dvc.lock"),
    "a link to a device": Link("/dev/full"),
}
ENDLESS = {"a FIFO", "a link to a device"}


def _lock(name: str, text: Thing, says: str = "dvc.lock") -> Case:
    return Case(f"lock: {name}", {"dvc.lock": text}, says, fine=None, stock=name not in ENDLESS)


LOCKS = [
    *(_lock(name, thing) for name, thing in BROKEN.items()),
    _lock("empty", ""),
    _lock("a comment", "# nothing\n"),
    _lock("a link to nothing", Link("nothing")),
    _lock("schema of a later version", ENTRY.replace("2.0", "9.0")),
    _lock("schema that is a number", ENTRY.replace("'2.0'", "2.0")),
    _lock("schema that is a list", ENTRY.replace("'2.0'", "[2]")),
    _lock("no schema", ENTRY.partition("\n")[2]),
    _lock("schema 1", "one: {cmd: x}\n"),
    _lock("stages null", "schema: '2.0'\nstages:\n"),
    _lock("stages a list", "schema: '2.0'\nstages: []\n"),
    _lock("a stage null", "schema: '2.0'\nstages:\n  one:\n"),
    _lock("a stage a text", "schema: '2.0'\nstages:\n  one: x\n"),
    _lock("a stage without cmd", "schema: '2.0'\nstages:\n  one: {outs: []}\n"),
    _lock("a cmd that is a number", ENTRY.replace("cp in.txt out.txt", "5")),
    _lock("a cmd that is a list", ENTRY.replace("cp in.txt out.txt", "[5]")),
    _lock("deps a text", "schema: '2.0'\nstages:\n  one: {cmd: x, deps: x}\n"),
    _lock("a dep without path", "schema: '2.0'\nstages:\n  one: {cmd: x, deps: [{md5: x}]}\n"),
    _lock("a dep without hash", "schema: '2.0'\nstages:\n  one: {cmd: x, deps: [{path: in.txt}]}\n"),
    _lock("a path that is a number", ENTRY.replace("path: in.txt", "path: 5")),
    _lock("a path outside", ENTRY.replace("path: out.txt", "path: ../../../etc/passwd")),
    _lock("a path with NUL", ENTRY.replace("path: out.txt", 'path: "a\\0b"')),
    _lock("a hash that is a number", ENTRY.replace(MD5, "5")),
    _lock("a hash that is empty", ENTRY.replace(MD5, '""')),
    _lock("a hash that is a path", ENTRY.replace(MD5, "../../../../etc/passwd")),
    _lock("a hash that is short", ENTRY.replace(MD5, "f")),
    _lock("a hash with an escape", ENTRY.replace(MD5, '"\\e[2J"')),
    _lock("a hash with NUL", ENTRY.replace(MD5, '"a\\0"')),
    _lock("a hash of a folder", ENTRY.replace(MD5, f"{MD5}.dir")),
    _lock("a hash of another kind", ENTRY.replace("hash: md5", "hash: sha9000"), "'in.txt'"),
    _lock("a size that is a text", ENTRY.replace("size: 3", "size: x")),
    _lock("a size below 0", ENTRY.replace("size: 3", "size: -3")),
    _lock("a size that is huge", ENTRY.replace("size: 3", "size: 99999999999999999999999999")),
    _lock("params a list", "schema: '2.0'\nstages:\n  one: {cmd: x, params: []}\n"),
    _lock("an unknown stage", ENTRY.replace("one:", "other:")),
    _lock("an unknown key of a stage", ENTRY + "    unknown: 1\n"),
    _lock("an unknown key of an out", ENTRY + "      unknown: 1\n"),
    _lock("stages twice", ENTRY + ENTRY.partition("\n")[2]),
    _lock("huge", ENTRY + "".join(f"  s{n}: {{cmd: x}}\n" for n in range(300))),
]

DVC_FILE = f"outs:\n- md5: {MD5}\n  size: 3\n  hash: md5\n  path: data\n"


def _data(
    name: str, text: Thing, says: str = "data.dvc", args: tuple[str, ...] = ("repro", "--dry", "data.dvc")
) -> Case:
    return Case(f"dvc file: {name}", {"data.dvc": text}, says, args, fine=None, stock=name not in ENDLESS)


DVC_FILES = [
    *(_data(name, thing, args=("repro", "--dry")) for name, thing in BROKEN.items() if name != "a link to itself"),
    _data("a link to itself", Link("data.dvc")),
    _data("a link to nothing", Link("nothing")),
    _data("empty", "", says="data"),
    _data("missing data", DVC_FILE, says="data"),
    _data("no path", "outs:\n- md5: x\n"),
    _data("outs a text", "outs: x\n"),
    _data("a path outside", DVC_FILE.replace("path: data", "path: ../../data"), says="data"),
    _data("a path in .git", DVC_FILE.replace("path: data", "path: .git/HEAD"), says=".git"),
    _data("a path that is absolute", DVC_FILE.replace("path: data", "path: /etc/passwd"), says="/etc/passwd"),
    _data("a path with NUL", DVC_FILE.replace("path: data", 'path: "a\\0b"')),
    _data("a path with an escape", DVC_FILE.replace("path: data", 'path: "a\\e[2Jb"'), says="data"),
    _data("a hash that is a path", DVC_FILE.replace(MD5, "../../../../etc/passwd"), says="data"),
    _data("a wdir outside", DVC_FILE + "wdir: ../..\n", says="data"),
    _data("a wdir missing", DVC_FILE + "wdir: missing\n", says="missing"),
    _data("a cmd", DVC_FILE + "cmd: echo\n", says="data"),
    _data("a repository that is none", DVC_FILE + "deps:\n- path: x\n  repo: {url: /nowhere}\n", says="data"),
    _data("a repository that is a number", DVC_FILE + "deps:\n- path: x\n  repo: {url: 5}\n"),
    _data("frozen a text", DVC_FILE + "frozen: x\n"),
]


def _config(name: str, text: Thing, says: str = "config", file: str = ".dvc/config") -> Case:
    return Case(f"config: {name}", {file: text}, says, fine=None, stock=name not in ENDLESS)


CONFIGS = [
    _config("broken", "[core"),
    _config("no UTF-8", b"\xff\xfe"),
    _config("NUL", "\0"),
    _config("a key alone", "remote\n"),
    _config("an unknown section", "[unknown]\nx = 1\n"),
    _config("an unknown key", "[core]\nunknown = 1\n"),
    _config("a truth that is none", "[core]\nautostage = maybe\n"),
    _config("a number that is none", "[core]\nchecksum_jobs = many\n"),
    _config("a cache type that is none", "[cache]\ntype = teleport\n"),
    _config("a cache that is a file", "[cache]\ndir = ../in.txt\n", says="in.txt"),
    _config("a cache that cannot be", "[cache]\ndir = /proc/nothing\n", says="/proc/nothing"),
    _config("a cache with NUL", "[cache]\ndir = a\0b\n", says="null"),
    _config("a default remote that is none", "[core]\nremote = nothing\n", says="nothing"),
    _config("a remote without URL", "['remote \"r\"']\nverify = true\n"),
    _config("a remote of no scheme", "[core]\nremote = r\n['remote \"r\"']\nurl = foo://bar\n", says="foo"),
    _config("a site cache that is a file", "[core]\nsite_cache_dir = ../in.txt\n", says="in.txt"),
    _config("hydra without a folder", "[hydra]\nenabled = true\n"),
    _config("a folder", FOLDER),
    _config("a FIFO", FIFO),
    _config("a link to itself", Link("config")),
    _config("a link to nothing", Link("nothing")),
    _config("missing", NOTHING),
    _config("local broken", "[core", "config.local", ".dvc/config.local"),
    _config("local folder", FOLDER, "config.local", ".dvc/config.local"),
    _config("twice", "[core]\n[core]\n"),
    _config("ray.toml a folder", FOLDER, "", ".dvc/ray.toml"),
    _config("ignore: broken", "[[[\n***\n", "dvc-ignored", ".dvcignore"),
    _config("ignore: everything", "*\n", "", ".dvcignore"),
    _config("ignore: dvc.yaml", "dvc.yaml\n", "", ".dvcignore"),
    _config("ignore: no UTF-8", b"\xff\n", ".dvcignore", ".dvcignore"),
    _config("ignore: NUL", "a\0b\n", ".dvcignore", ".dvcignore"),
    _config("ignore: huge", "".join(f"x{n}\n" for n in range(2000)), "", ".dvcignore"),
    _config("ignore: a folder", FOLDER, ".dvcignore", ".dvcignore"),
    _config("ignore: a link to itself", Link(".dvcignore"), ".dvcignore", ".dvcignore"),
    _config("ignore: a bang", "!\n!!\n\\\n", ".dvcignore", ".dvcignore"),
    _config("gitignore: no UTF-8", b"\xff\n", "", ".gitignore"),
    _config("gitignore: a folder", FOLDER, "", ".gitignore"),
    _config("gitignore: everything", "*\n", "", ".gitignore"),
    _config("tmp: a file", "mine\n", ".dvc/tmp", ".dvc/tmp"),
    _config("tmp: a link to nothing", Link("nothing"), ".dvc/tmp", ".dvc/tmp"),
    _config("ray: a file", "mine\n", ".dvc/tmp/ray", ".dvc/tmp/ray"),
    _config("runs: a file", "mine\n", ".dvc/tmp/ray/runs", ".dvc/tmp/ray/runs"),
    _config("lock: a folder", FOLDER, ".dvc/tmp/lock", ".dvc/tmp/lock"),
    _config("rwlock: broken", "{", "rwlock", ".dvc/tmp/rwlock"),
    _config(".dvc: a file", "mine\n", "DVC repository", ".dvc"),
    _config(".dvc: nothing", NOTHING, "DVC repository", ".dvc"),
    _config("cache: a file", "mine\n", "cache", ".dvc/cache"),
]


def _git(name: str, file: str, thing: Thing, says: str = "git") -> Case:
    return Case(f"git: {name}", {file: thing}, says, fine=None)


GIT = [
    _git("nothing", ".git", NOTHING, "git"),
    _git("a file", ".git", "mine\n"),
    _git("empty", ".git", FOLDER),
    _git("a file that leads nowhere", ".git", "gitdir: /nowhere\n"),
    _git("a link to nothing", ".git", Link("nothing")),
    _git("no HEAD", ".git/HEAD", NOTHING),
    _git("an empty HEAD", ".git/HEAD", ""),
    _git("a broken HEAD", ".git/HEAD", "broken\n"),
    _git("an unborn HEAD", ".git/HEAD", "ref: refs/heads/unborn\n"),
    _git("a HEAD that is not there", ".git/HEAD", "f" * 40 + "\n"),
    _git("a HEAD of bytes", ".git/HEAD", b"\xff\0\xff"),
    _git("a HEAD that is a folder", ".git/HEAD", FOLDER),
    _git("an index that is broken", ".git/index", "broken"),
    _git("an index that is empty", ".git/index", ""),
    _git("an index that is a folder", ".git/index", FOLDER),
    _git("no objects", ".git/objects", NOTHING),
    _git("objects that are a file", ".git/objects", "mine"),
    _git("no refs", ".git/refs", NOTHING),
    _git("a broken config", ".git/config", "[core"),
    _git("a config of bytes", ".git/config", b"\xff"),
    _git("a later format", ".git/config", "[core]\nrepositoryformatversion = 99\n"),
    _git("a lock of the index", ".git/index.lock", ""),
    _git("a broken packed-refs", ".git/packed-refs", "broken\n"),
    *(
        Case(f"git: {kind} as {name}", {f".git/{name}": thing}, f"'.git/{name}' is ", stock=False)
        for kind, thing in (("FIFO", FIFO), ("socket", SOCKET))
        for name in ("HEAD", "config", "index", "packed-refs", "info/exclude", "info/attributes")
    ),
    _git("a merge under way", ".git/MERGE_HEAD", "f" * 40 + "\n"),
]


@pytest.mark.parametrize("case", params(LOCKS))
def test_dvc_lock(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(DVC_FILES))
def test_a_dvc_file(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(CONFIGS))
def test_configuration(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(GIT))
def test_git(lab: Lab, case: Case) -> None:
    lab.check(case)
