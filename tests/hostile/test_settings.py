"""Settings: ray.toml, meta.ray, variables, flags."""

from __future__ import annotations

import pytest

from tests.helpers import inputs
from tests.helpers.campaign import FIFO, FOLDER, GOOD, SOCKET, Case, Lab, Link, Thing, params

DIGITS = "9" * 5000


def _toml(name: str, thing: Thing, says: str = "ray.toml", file: str = ".dvc/ray.toml") -> Case:
    return Case(f"toml: {name}", {file: thing}, says, code=251, stock=False)


TOML = [
    _toml("broken", "jobs = "),
    _toml("no UTF-8", b"\xff"),
    _toml("UTF-16", "jobs = 1".encode("utf-16")),
    _toml("NUL", "\0"),
    _toml("tab", "jobs\t"),
    _toml("deep", "a = " + "[" * 2000),
    _toml("deep and closed", "runtime_env = {a = " + "[" * 900 + "]" * 900 + "}"),
    _toml("deep keys", ".".join("a" * 3000) + " = 1"),
    _toml("digits", f"jobs = {DIGITS}"),
    _toml("twice", "jobs = 1\njobs = 1\n"),
    _toml("a conflict", "<<<<<<< HEAD\njobs = 1\n=======\njobs = 2\n>>>>>>> theirs\n"),
    _toml("an unknown key", "jbos = 1\n", "'jbos'"),
    _toml("an unknown key with an escape", '"\\u001b[2J" = 1\n', "\\x1b[2J"),
    _toml("a table in the place of a number", "[jobs]\nx = 1\n", "'jobs'"),
    _toml("a date", "jobs = 2020-01-01\n", "'jobs'"),
    _toml("an escape", 'owner = "\\u001b]0;x\\u0007"\n', "'owner'"),
    _toml("from right to left", 'owner = "\\u202e"\n', "'owner'"),
    _toml("local", "jobs = 0\n", "ray.local.toml", ".dvc/ray.local.toml"),
    _toml("a folder", FOLDER),
    _toml("a socket", SOCKET),
    _toml("a FIFO", FIFO),
    _toml("a device", Link("/dev/full")),
    _toml("a link to itself", Link("ray.toml")),
    *(
        _toml(
            f"{key} = {value[:20]} ({len(value)})",
            f"{key} = {value}\n",
            f"'{key}'" if len(value) < 1000 else "ray.toml",
        )
        for key, values in inputs.FILES.items()
        for value in values[:2]
    ),
]


def _ray(name: str, section: str, says: str) -> Case:
    return Case(f"ray: {name}", {"dvc.yaml": f"{GOOD}    meta: {{ray: {section}}}\n"}, says, code=251, stock=False)


BAD = {
    "null": "null",
    "a list": "[{}]",
    "a map": "{x: {}}",
    "an empty text": '""',
    "an escape": '"\\e[2J"',
    "below 0": "-1",
    "NaN": ".nan",
    "a date": "2020-01-01",
}
TAKES = {
    ("accelerator_type", "an escape"),
    ("env", "a map"),
    ("include", "an empty text"),
    ("include", "an escape"),
    ("mutex", "an escape"),
    ("runtime_env", "a map"),
}
RAY = [
    *(
        _ray(f"{key} {name}", f"{{{key}: {text}}}", key)
        for at, key in enumerate([*inputs.AMOUNTS, "label_selector"])
        for name, text in list(BAD.items())[at % 3 :: 3]
        if (key, name) not in TAKES
    ),
    _ray("a text", "x", "meta.ray"),
    _ray("a list", "[]", "meta.ray"),
    _ray("an unknown key", "{num_cpu: 1}", "num_cpus"),
    _ray("a key that is a number", "{5: 1}", "'5'"),
    _ray("a key with an escape", '{"\\e[2J": 1}', "\\x1b[2J"),
    _ray("env of lists", "{env: {A: [1]}}", "meta.ray.env.A"),
    _ray("env with NUL", '{env: {A: "a\\0"}}', "meta.ray.env.A"),
]


def _variable(name: str, text: str, says: str = "") -> Case:
    return Case(
        f"{name}={text[:20]!a} ({len(text)})",
        {},
        says or f"'{name.removeprefix('DVC_RAY_').lower()}'",
        env={name: text},
        code=251,
        stock=False,
    )


VARIABLES = [
    *(
        _variable(f"DVC_RAY_{name}", text)
        for name, values in inputs.VARIABLES.items()
        for text in values[::2]
        if text.isascii()
    ),
    _variable("DVC_RAY_OWNER", "\x1b[2J"),
    _variable("DVC_RAY_OWNER", "\u202e"),
    _variable("DVC_RAY_ADDRESS", "\udcff"),
]
HOMES = [
    Case("no HOME", env={"HOME": ""}, says="one", fine=True, stock=False),
    Case("a HOME that is missing", env={"HOME": "/nowhere"}, says="one", fine=True, stock=False),
    Case("a HOME that is a file", env={"HOME": "/etc/passwd"}, says="/etc/passwd", fine=None),
    Case("an XDG_CONFIG_HOME that is relative", env={"XDG_CONFIG_HOME": "x"}, says="one", fine=True, stock=False),
    Case("an XDG_CONFIG_HOME that is a file", env={"XDG_CONFIG_HOME": "/etc/passwd"}, says="/etc/passwd", fine=None),
    Case("a TMPDIR that is missing", env={"TMPDIR": "/nowhere"}, says="one", fine=True, stock=False),
    Case("a SHELL that is missing", env={"SHELL": "/nowhere"}, says="one", fine=True, stock=False),
    Case("a DVC_ROOT that is missing", env={"DVC_ROOT": "/nowhere"}, says="one", fine=None),
    Case("a GIT_DIR that is missing", env={"GIT_DIR": "/nowhere"}, says="git", fine=None),
    Case("a site cache that is a file", env={"DVC_SITE_CACHE_DIR": "/etc/passwd"}, says="/etc/passwd", fine=None),
]


def _flag(*arguments: str, says: str, code: int = 254, dry: bool = True, fine: bool = False) -> Case:
    flags = [ascii(text) if len(text) < 40 else f"{text[:20]}… ({len(text)})" for text in arguments]
    args = (*arguments, "--dry") if dry else arguments
    return Case(" ".join(flags), {}, says, args, code=None if fine else code, fine=fine, stock=False)


R = "repro"
FLAGS = [
    *(_flag(R, "-j", text, says="jobs") for text in ("0", "-1", "x", "1.5", "", "nan", DIGITS, "9" * 400, "\x1b[2J")),
    _flag(R, "--jobs=", says="jobs"),
    _flag(R, "--unknown", says="--unknown"),
    _flag(R, "--\x1b[2J", says="\\x1b[2J"),
    _flag(R, "--\u202e", says="\\u202e"),
    _flag(R, "-q", "-v", says="not allowed with"),
    _flag(R, "--address", says="--address"),
    _flag(R, "--address", "ray://x", says="Ray Client", code=255),
    _flag(R, "--interactive", says="--interactive", dry=False),
    _flag(R, "--interactive", "--json", says="--interactive", dry=False),
    _flag("unknown", says="unknown"),
    _flag("exp", says="COMMAND", dry=False),
    _flag("exp", "unknown", says="unknown"),
    _flag("\x1b[2J", says="\\x1b[2J"),
    _flag("", says="COMMAND"),
    _flag(says="COMMAND", dry=False),
    *(
        _flag(R, *flags, target, says=says, code=255)
        for target, says in {
            "nothing": "nothing",
            "dvc.yaml:nothing": "nothing",
            "nothing.dvc": "nothing.dvc",
            "nothing/dvc.yaml": "nothing/dvc.yaml",
            "in.txt": "in.txt",
            ".": "",
            "..": "..",
            "/": "/",
            "a\nb": "a",
            "a\x1b[2Jb": "a\\x1b[2Jb",
            "a\u202eb": "a\\u202eb",
            "a\udcffb": "a\\xffb",
            "n" * 3000: "nnn",
            "one@": "one@",
            ":one:": "one",
            "*": "*",
            "../../../etc/passwd": "passwd",
        }.items()
        for flags in ([], ["-s"])[len(target) % 2 :: 2]
    ),
    *(_flag(R, flag, "nothing", says="nothing", code=255) for flag in ("-f", "-p", "-R", "--downstream", "--pull")),
    _flag(R, "-P", "nothing", says="one", fine=True),
    *(_flag(R, *flags, says="one", fine=True) for flags in (["--glob", "n*"], ["--glob", "["], [""], ["-s", ""])),
    _flag(R, "-fskiP", "one", says="one", fine=True),
    _flag(R, "one", "one", says="one", fine=True),
    *(
        _flag("exp", "run", "-S", text, says=says, code=255)
        for text, says in {
            "": "",
            "=": "=",
            "p": "p",
            "=1": "=1",
            "nothing=1": "nothing",
            "nothing.yaml:p=1": "'p'",
            "sub:p=1": "sub",
            "../../x.yaml:p=1": "'p'",
            "/etc/passwd:p=1": "'p'",
            "p={": "p",
            "p=[[[[": "p",
            "p=\0": "p",
            "p=\x1b[2J": "p",
            "\x1b[2J=1": "1",
            "p.q=1": "p",
            "~nothing": "nothing",
            "p=${nothing}": "p",
        }.items()
    ),
    *(
        _flag("exp", "run", "-n", text, says=says, code=255)
        for text, says in {
            "a b": "a b",
            "..": "..",
            "a/b": "a/b",
            "a\x1b[2J": "a\\x1b[2J",
            "a\udcff": "a",
            "@{": "@{",
            "~": "~",
            "a.lock": "a.lock",
        }.items()
    ),
    *(_flag("exp", "run", *flags, says="one", fine=True) for flags in (["-S", "p="], ["-n", "-"], ["-n", "HEAD"])),
    _flag("exp", "run", "-C", "nothing", says="nothing", code=255),
    _flag("exp", "run", "--queue", says="--queue", code=255),
    _flag("exp", "run", "--run-all", says="--run-all", code=255),
    _flag("exp", "run", "nothing", says="nothing", code=255),
    _flag("job", "list", "--address", "ray://x", says="ray", code=255, dry=False),
    _flag("job", "stop", says="RUN", dry=False),
    _flag("job", "list", "extra", says="extra", dry=False),
]


@pytest.mark.parametrize("case", params(TOML))
def test_ray_toml(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(RAY))
def test_meta_ray(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params([*VARIABLES, *HOMES]))
def test_variables(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(FLAGS))
def test_flags(lab: Lab, case: Case) -> None:
    lab.check(case)
