"""dvc.yaml: texts that are no YAML, YAML that is no pipeline, pipelines that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.helpers.campaign import BOMB, DIGITS, FIFO, FOLDER, GOOD, SOCKET, Case, Lab, Link, params

DEEP = 700
"""More would be slow, in the parser."""

TEXTS: dict[str, str | bytes | Any] = {
    "nothing but a tab": "\t",
    "a tab before a key": "stages:\n\tone:\n\t\tcmd: echo\n",
    "NUL": "\0",
    "NUL within": GOOD.replace("in.txt", "in\0.txt"),
    "escape within": GOOD.replace("cp", "\x1b[2Jcp"),
    "no UTF-8": b"stages:\n  one:\n    cmd: echo \xff\xfe\n",
    "latin-1": "stages:\n  one:\n    cmd: echo é\n".encode("latin-1"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "a surrogate": GOOD.replace("cp", '"\\ud800').replace("out.txt\n    deps", 'out.txt"\n    deps'),
    "a lone quote": 'stages: "',
    "a lone bracket": "stages: [",
    "a lone brace": "stages: {",
    "a closing bracket": "stages: ]",
    "a percent": "%",
    "an unknown directive": "%FOO 1\n---\n" + GOOD,
    "YAML 1.1": "%YAML 1.1\n---\n" + GOOD,
    "YAML 9.9": "%YAML 9.9\n---\n" + GOOD,
    "two documents": GOOD + "---\n" + GOOD,
    "an end of document": "...\n" + GOOD,
    "a tag of Python": "stages: !!python/object/apply:os.system ['touch hacked']\n",
    "a tag of nobody": "stages: !nobody {}\n",
    "a tag that does not fit": "stages: !!int x\n",
    "a timestamp": "stages: 2020-01-01\n",
    "a timestamp that is none": "stages: 2020-99-99\n",
    "a binary that is none": "stages: !!binary ä\n",
    "an alias of nothing": "stages: *nothing\n",
    "an anchor alone": "stages: &a\n",
    "an anchor of itself": "stages: &a {one: *a}\n",
    "a list of itself": "stages: {one: {cmd: &a [*a]}}\n",
    "deps of themselves": "stages: {one: {cmd: echo, deps: &a [*a]}}\n",
    "vars of themselves": "vars: &a [{x: *a}]\n" + GOOD,
    "meta of itself": "stages: {one: {cmd: echo, meta: &a {x: *a}}}\n",
    "ray of itself": "stages: {one: {cmd: echo, meta: {ray: &a {env: *a}}}}\n",
    "runtime_env of itself": "stages: {one: {cmd: echo, meta: {ray: {runtime_env: &a {x: *a}}}}}\n",
    "a merge of itself": "stages: &a {<<: *a}\n",
    "a merge of a text": "stages: {<<: x}\n",
    "a bomb of aliases": BOMB + GOOD,
    "a bomb in meta": f"stages:\n  one:\n    cmd: echo\n    meta: {{x: {{{BOMB.replace(chr(10), ', ')}}}}}\n",
    "duplicate keys": GOOD + GOOD,
    "duplicate stages": GOOD + GOOD.partition("\n")[2],
    "duplicate keys of a stage": GOOD + "    cmd: echo\n",
    "a mark of a merge conflict": "<<<<<<< HEAD\n" + GOOD + "=======\n" + GOOD + ">>>>>>> other\n",
    "a mark in the middle": GOOD.replace("    deps", "<<<<<<< HEAD\n    deps"),
    "JSON that is cut": '{"stages": {"one": {"cmd"',
    "XML": "<stages/>",
    "a program": "#!/bin/sh\nexit 1\n",
    "a very long line": "stages: " + "x" * 200_000,
    "a very long key": "x" * 200_000 + ": 1\n",
    "a key that is a list": "? [a]\n: 1\n",
    "a key that is a map": "? {a: 1}\n: 1\n",
    "a key that is null": "null: 1\n",
    "a key that is a date": "2020-01-01: 1\n",
    "a key that is a number": "5: 1\n",
    "a key that is NaN": ".nan: 1\n",
    "a key with an escape": '"\\e[2J": 1\n',
    "a stage that is a number": "stages: {5: {cmd: echo}}\n",
    "a stage that is null": "stages: {null: {cmd: echo}}\n",
    "a stage that is true": "stages: {true: {cmd: echo}}\n",
    "a stage that is a date": "stages: {2020-01-01: {cmd: echo}}\n",
    "a stage that is a list": "stages: {? [a] : {cmd: echo}}\n",
    "an int of thousands of digits": f"stages: {DIGITS}\n",
    "a key of thousands of digits": f"stages: {{{DIGITS}: {{cmd: echo}}}}\n",
    "a param of thousands of digits": f"vars: [{{x: {DIGITS}}}]\n" + GOOD,
    "a meta of thousands of digits": f"stages: {{one: {{cmd: echo, meta: {{x: {DIGITS}}}}}}}\n",
    "a setting of thousands of digits": f"stages: {{one: {{cmd: echo, meta: {{ray: {{num_cpus: {DIGITS}}}}}}}}}\n",
    "a base of 60": "stages: 1:30:00\n",
    "an octal that is none": "stages: 0o9\n",
    **{f"deep {name}": "stages: " + mark * DEEP for name, mark in [("lists", "["), ("maps", "{a: "), ("items", "- ")]},
    "deep and closed": "stages: " + "[" * DEEP + "]" * DEEP,
    "deep meta": f"stages: {{one: {{cmd: echo, meta: {'[' * 500}{']' * 500}}}}}\n",
    "deep vars": f"vars: [{{x: {'[' * 500}{']' * 500}}}]\n" + GOOD,
    "deep ray": f"stages: {{one: {{cmd: echo, meta: {{ray: {{env: {'[' * 300}{']' * 300}}}}}}}}}\n",
    "a null": "null\n",
    "a list": "[]\n",
    "a text": "text\n",
    "a number": "5\n",
    "true": "true\n",
    "a folder": FOLDER,
    "a FIFO": FIFO,
    "a socket": SOCKET,
    "a link to nothing": Link("nothing"),
    "a link to itself": Link("dvc.yaml"),
    "a link to a folder": Link("sub"),
    "a link to /dev/null": Link("/dev/null"),
    "a link to a FIFO of the system": Link("/dev/full"),
}
FINE = {
    "empty": "",
    "spaces": "  \n\n ",
    "only a comment": "# nothing\n",
    "an empty map": "{}\n",
    "no stages": "stages: {}\n",
    "null stages": "stages:\n",
    "a BOM": "\ufeff" + GOOD,
    "CR LF": GOOD.replace("\n", "\r\n"),
    "CR": GOOD.replace("\n", "\r"),
    "no end of line": GOOD.rstrip(),
    "a merge key": "x: &x {cmd: echo}\nstages: {one: {<<: *x}}\n",
}
ENDLESS = {"a bomb in meta"}
"""What stock does not come to an end with."""
SYNTAX = [
    Case(name, {"dvc.yaml": text}, "dvc.yaml", fine=None, stock=name not in ENDLESS)
    for name, text in (TEXTS | FINE).items()
]

WRONG = {
    "null": "null",
    "true": "true",
    "number": "5",
    "float": "1.5",
    "NaN": ".nan",
    "date": "2020-01-01",
    "text": "xyz",
    "empty text": '""',
    "NUL": '"a\\0b"',
    "escape": '"a\\e]0;title\\ab"',
    "list": "[]",
    "numbers": "[5]",
    "nulls": "[null]",
    "lists": "[[a]]",
    "map": "{}",
    "map of null": "{a: null}",
    "list of maps": "[{a: {b: 1}}]",
    "binary": "!!binary aGk=",
    "template": "${nothing}",
    "half a template": "${",
}
OFTEN = {"stages", "cmd", "deps", "params"}
"""Where most may stand."""
TOP = ("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets", "unknown")
OF_STAGE = (
    "cmd",
    "deps",
    "outs",
    "params",
    "metrics",
    "plots",
    "wdir",
    "always_changed",
    "frozen",
    "meta",
    "desc",
    "vars",
    "unknown",
)
OF_OUT = ("cache", "persist", "push", "remote", "type", "desc", "labels", "meta", "unknown")


def _stage(**fields: str) -> str:
    given = {"cmd": "echo", **fields}
    return "stages:\n  one:\n" + "".join(f"    {name}: {text}\n" for name, text in given.items())


def _types(what: str, make: Callable[[str, str], str], names: Sequence[str], kinds: Sequence[str]) -> list[Case]:
    """Each name with every other kind of value, the next one with the others: all that differ are tried."""
    chosen = [
        (name, kind) for at, name in enumerate(names) for kind in (kinds if name in OFTEN else kinds[at % 5 :: 5])
    ]
    files = {f"{what}{name}: {kind}": make(name, WRONG[kind]) for name, kind in chosen}
    return [Case(name, {"dvc.yaml": text}, "dvc.yaml", fine=None) for name, text in files.items()]


TYPES = [
    *_types("", lambda name, text: f"{name}: {text}\n" + (GOOD if name != "stages" else ""), TOP, list(WRONG)),
    *_types("one.", lambda name, text: _stage(**{name: text}), OF_STAGE, list(WRONG)),
    *_types("out.", lambda name, text: _stage(outs=f"[{{o: {{{name}: {text}}}}}]"), OF_OUT, list(WRONG)),
]


@pytest.mark.parametrize("case", params(SYNTAX))
def test_a_text(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(TYPES))
def test_a_type(lab: Lab, case: Case) -> None:
    lab.check(case)
