"""Pipelines that cannot be: graphs, paths, templates, params."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.campaign import (
    BOMB,
    DIGITS,
    FIFO,
    FOLDER,
    GOOD,
    NOTHING,
    SOCKET,
    Case,
    Lab,
    Link,
    Thing,
    params,
    stages,
)


def _yaml(table: dict[str, tuple[str, str]]) -> list[Case]:
    return [Case(name, {"dvc.yaml": text}, says, fine=None) for name, (text, says) in table.items()]


GRAPHS = _yaml(
    {
        "a cycle of one": (stages(a="cmd: x, deps: [o], outs: [o]"), "both a dependency and an output in stage: a"),
        "a cycle of two": (
            stages(a="cmd: x, deps: [p], outs: [o]", b="cmd: x, deps: [o], outs: [p]"),
            "both a dependency and an output in stages: ",
        ),
        "a cycle by a folder": (
            stages(a="cmd: x, deps: [d/p], outs: [o]", b="cmd: x, deps: [o], outs: [d]"),
            "both a dependency and an output in stages: ",
        ),
        "an out twice": (stages(a="cmd: x, outs: [o]", b="cmd: x, outs: [o]"), "'o'"),
        "an out twice in a stage": (stages(a="cmd: x, outs: [o, o]"), "'o'"),
        "an out twice by another name": (stages(a="cmd: x, outs: [o]", b="cmd: x, outs: [./o]"), "o"),
        "an out twice by ..": (stages(a="cmd: x, outs: [o]", b="cmd: x, outs: [sub/../o]"), "o"),
        "an out in an out": (stages(a="cmd: x, outs: [d]", b="cmd: x, outs: [d/o]"), "d/o"),
        "an out that is the project": (stages(a="cmd: x, outs: [.]"), "a"),
        "an out above": (stages(a="cmd: x, outs: [..]"), "a"),
        "a dep that is the project": (stages(a="cmd: x, deps: [.], outs: [o]"), "a"),
        "an out that is dvc.yaml": (stages(a="cmd: x, outs: [dvc.yaml]"), "dvc.yaml"),
        "an out that is dvc.lock": (stages(a="cmd: x, outs: [dvc.lock]"), "dvc.lock"),
        "an out that is .gitignore": (stages(a="cmd: x, outs: [.gitignore]"), ".gitignore"),
        "an out that is params.yaml": (stages(a="cmd: x, outs: [params.yaml]"), "params.yaml"),
        "an out in .git": (stages(a="cmd: x, outs: [.git/hooks/pre-commit]"), ".git"),
        "an out that is .git": (stages(a="cmd: x, outs: [.git]"), ".git"),
        "an out in .dvc": (stages(a="cmd: x, outs: [.dvc/config]"), ".dvc"),
        "an out that is .dvc": (stages(a="cmd: x, outs: [.dvc]"), ".dvc"),
        "an out in .dvc/cache": (stages(a="cmd: x, outs: [.dvc/cache/o]"), ".dvc"),
        "an out in .dvc/tmp": (stages(a="cmd: x, outs: [.dvc/tmp/o]"), ".dvc"),
        "an uncached out in .git": (stages(a="cmd: x, outs: [{.git/config: {cache: false}}]"), ".git"),
        "an uncached out in .dvc": (stages(a="cmd: x, outs: [{.dvc/config.local: {cache: false}}]"), ".dvc"),
        "an uncached out by .. in .git": (stages(a="cmd: x, outs: [{sub/../.git/config: {cache: false}}]"), ".git"),
        "a metric in .git": (stages(a="cmd: x, metrics: [{.git/config: {cache: false}}]"), ".git"),
        "a dep in .git": (stages(a="cmd: x, deps: [.git/HEAD]"), ".git"),
        "a dep in .dvc": (stages(a="cmd: x, deps: [.dvc/config]"), ".dvc"),
        "a dep that is .dvc": (stages(a="cmd: x, deps: [.dvc]"), ".dvc"),
        "an out outside": (stages(a="cmd: x, outs: [../o]"), "../o"),
        "an out far outside": (stages(a="cmd: x, outs: [../../../../../../../../etc/passwd]"), "etc/passwd"),
        "an absolute out": (stages(a="cmd: x, outs: [/etc/passwd]"), "/etc/passwd"),
        "an absolute uncached out": (stages(a="cmd: x, outs: [{/etc/passwd: {cache: false}}]"), "/etc/passwd"),
        "a dep outside": (stages(a="cmd: x, deps: [../o]"), "../o"),
        "an absolute dep that is not there": (stages(a="cmd: x, deps: [/nowhere/x]"), "/nowhere/x"),
        "a home": (stages(a="cmd: x, outs: [~/o]"), "~/o"),
        "an empty dep": (stages(a='cmd: x, deps: [""]'), "a"),
        "an empty out": (stages(a='cmd: x, outs: [""]'), "a"),
        "a dep of spaces": (stages(a='cmd: x, deps: ["  "]'), "a"),
        "a very long dep": (stages(a=f"cmd: x, deps: [{'d' * 5000}]"), "ddd"),
        "a very long out": (stages(a=f"cmd: x, outs: [{'d' * 5000}]"), "ddd"),
        "a very deep out": (stages(a=f"cmd: x, outs: [{'d/' * 400}o]"), "d/d"),
        "a dep with NUL": (stages(a='cmd: x, deps: ["a\\0b"]'), "a"),
        "an out with NUL": (stages(a='cmd: x, outs: ["a\\0b"]'), "a"),
        "a wdir with NUL": (stages(a='cmd: x, wdir: "a\\0b", outs: [o]'), "a"),
        "a dep with a line end": (stages(a='cmd: x, deps: ["a\\nb"]'), "a\\nb"),
        "a dep with an escape": (stages(a='cmd: x, deps: ["a\\e[2Jb"]'), "a\\x1b[2Jb"),
        "a dep with a surrogate": (stages(a='cmd: x, deps: ["a\\ud800b"]'), "a"),
        "a cmd with a surrogate": (stages(a='cmd: "x \\ud800", outs: [o]'), "a"),
        "a dep on a URL": (stages(a="cmd: x, deps: [http://localhost:1/x]"), "http://localhost:1/x"),
        "an out on S3": (stages(a="cmd: x, outs: [s3://b/x]"), "s3://b/x"),
        "an out of no scheme": (stages(a="cmd: x, outs: [foo://b/x]"), "foo"),
        "a remote that is none": (stages(a="cmd: x, deps: [remote://nothing/x]"), "nothing"),
        "a dep on a dataset that is none": (stages(a="cmd: x, deps: [ds://nothing]"), "nothing"),
        "a link of a file": (stages(a="cmd: x, outs: [file:///etc/passwd]"), "/etc/passwd"),
        "a wdir that is missing": (stages(a="cmd: x, wdir: missing, outs: [o]"), "a"),
        "a wdir that is a file": (stages(a="cmd: x, wdir: in.txt, outs: [o]"), "in.txt"),
        "a wdir outside": (stages(a="cmd: x, wdir: .., outs: [o]"), "a"),
        "a wdir far outside": (stages(a="cmd: x, wdir: /, outs: [o]"), "a"),
        "a wdir in .git": (stages(a="cmd: x, wdir: .git, outs: [o]"), ".git"),
        "a wdir in .dvc": (stages(a="cmd: x, wdir: .dvc, outs: [o]"), ".dvc"),
        "a name with a slash": (stages(**{'"a/b"': "cmd: x"}), "a/b"),
        "a name with a colon": (stages(**{'"a:b"': "cmd: x"}), "a:b"),
        "a name with an at": (stages(**{'"a@b"': "cmd: x"}), "a@b"),
        "a name that is empty": (stages(**{'""': "cmd: x"}), "dvc.yaml"),
        "a name with a line end": (stages(**{'"a\\nb"': "cmd: x"}), "a\\nb"),
        "a name with an escape": (stages(**{'"a\\e[2Jb"': "cmd: x"}), "a\\x1b[2Jb"),
        "a name from right to left": (stages(**{'"a\\u202eb"': "cmd: x"}), "a\\u202eb"),
        "a name with NUL": (stages(**{'"a\\0b"': "cmd: x"}), "a\\x00b"),
        "a name that is very long": (stages(**{"n" * 3000: "cmd: x"}), "nnn"),
        "a name of dots": (stages(**{'".."': "cmd: x"}), ".."),
        "a name of many scripts": (stages(ünï日本="cmd: x"), "ünï日本"),
        "a cmd that hides": (stages(a='cmd: "echo ok #\\r rm -rf /"'), "\\r rm"),
        "a cmd that is hidden": (stages(a='cmd: "rm -rf /\\e[2K\\recho ok"'), "\\x1b[2K\\r"),
        "a cmd from right to left": (stages(a='cmd: "echo \\u202e fr- mr"'), "\\u202e"),
        "a cmd of invisible tags": (stages(a='cmd: "echo \\U000e0041"'), "\\U000e0041"),
        "a cmd in 8-bit controls": (stages(a='cmd: "echo \\x9b2J"'), "\\x9b2J"),
        "no cmd": (stages(a="outs: [o]"), "dvc.yaml"),
        "a cmd of nothing": (stages(a="cmd: [], outs: [o]"), "a"),
        "metrics of a dep": (
            stages(a="cmd: x, deps: [in.txt], metrics: [in.txt]"),
            "both a dependency and an output in stage: a",
        ),
        "many stages on paper": (
            "stages:\n  a:\n    matrix:\n"
            + "".join(f"      k{n}: [{', '.join(map(str, range(2)))}]\n" for n in range(5))
            + "    cmd: x\n",
            "a@",
        ),
    }
)

TEMPLATES = _yaml(
    {
        "a template of nothing": (stages(a='cmd: "${nothing}"'), "nothing"),
        "a template that is half": (stages(a='cmd: "${p"'), "a"),
        "a template that is empty": (stages(a='cmd: "${}"'), "${}"),
        "a template in itself": (stages(a='cmd: "${${p}}"'), "a"),
        "a template that calls": (stages(a='cmd: "${__import__(1)}"'), "a"),
        "a template of an attribute": (stages(a='cmd: "${p.__class__}"'), "p"),
        "a template of an index": (stages(a='cmd: "${p[99999999999]}"'), "p"),
        "a template in a key": ("stages:\n  a:\n    cmd: x\n    ${p}: 1\n", "dvc.yaml"),
        "a template in a name": ("stages:\n  ${p}:\n    cmd: x\n", "${p}"),
        "a template in vars": ("vars: [{x: '${p}'}]\n" + GOOD, "vars"),
        "a template of a map": ("vars: [{m: {x: 1}}]\n" + stages(a='outs: ["${m}"], cmd: x'), "m"),
        "a template of a list": ("vars: [{m: [1]}]\n" + stages(a='outs: ["${m}"], cmd: x'), "m"),
        "a template with an escape": ('vars: [{m: "\\e[2J"}]\n' + stages(a='cmd: "x ${m}"'), "\\x1b[2J"),
        "a path from a template": ("vars: [{m: ../../o}]\n" + stages(a='outs: ["${m}"], cmd: x'), "../../o"),
        "vars twice": ("vars: [{p: 2}]\n" + GOOD, "p"),
        "vars from nothing": ("vars: [nothing.yaml]\n" + GOOD, "nothing.yaml"),
        "vars from a folder": ("vars: [sub]\n" + GOOD, "sub"),
        "vars from itself": ("vars: [dvc.yaml]\n" + GOOD, "dvc.yaml"),
        "vars outside": ("vars: [../../../etc/passwd]\n" + GOOD, "etc/passwd"),
        "vars from a device": ("vars: [/dev/null]\n" + GOOD, "/dev/null"),
        "vars of a key that is none": ("vars: ['params.yaml:nothing']\n" + GOOD, "nothing"),
        "foreach of a number": ("stages:\n  a:\n    foreach: 5\n    do: {cmd: x}\n", "a"),
        "foreach of nothing": ("stages:\n  a:\n    foreach:\n    do: {cmd: x}\n", "a"),
        "foreach of an empty list": ("stages:\n  a:\n    foreach: []\n    do: {cmd: x}\n", "a"),
        "foreach of null": ("stages:\n  a:\n    foreach: [null]\n    do: {cmd: 'x ${item}'}\n", "a"),
        "foreach of lists": ("stages:\n  a:\n    foreach: [[1]]\n    do: {cmd: 'x ${item}'}\n", "a"),
        "foreach of escapes": ('stages:\n  a:\n    foreach: ["\\e[2J"]\n    do: {cmd: "x ${item}"}\n', "a@\\x1b[2J"),
        "foreach of slashes": ("stages:\n  a:\n    foreach: [../x]\n    do: {cmd: 'x ${item}'}\n", "a@../x"),
        "foreach twice the same": ("stages:\n  a:\n    foreach: [1, 1]\n    do: {cmd: 'x ${item}'}\n", "a@1"),
        "foreach without do": ("stages:\n  a:\n    foreach: [1]\n", "dvc.yaml"),
        "foreach with cmd": ("stages:\n  a:\n    foreach: [1]\n    cmd: x\n", "dvc.yaml"),
        "do without foreach": ("stages:\n  a:\n    do: {cmd: x}\n", "dvc.yaml"),
        "foreach of one out": ("stages:\n  a:\n    foreach: [1, 2]\n    do: {cmd: x, outs: [o]}\n", "'o'"),
        "foreach of an item that is none": (
            "stages:\n  a:\n    foreach: [1]\n    do: {cmd: 'x ${item.y}'}\n",
            "item.y",
        ),
        "foreach of what is not there": ("stages:\n  a:\n    foreach: ${nothing}\n    do: {cmd: x}\n", "nothing"),
        "foreach of a text": ("vars: [{m: abc}]\nstages:\n  a:\n    foreach: ${m}\n    do: {cmd: x}\n", "a"),
        "foreach in foreach": ("stages:\n  a:\n    foreach: [1]\n    do: {foreach: [1], do: {cmd: x}}\n", "dvc.yaml"),
        "matrix of a number": ("stages:\n  a:\n    matrix: 5\n    cmd: x\n", "matrix"),
        "matrix of nothing": ("stages:\n  a:\n    matrix: {}\n    cmd: x\n", "a"),
        "matrix of an empty list": ("stages:\n  a:\n    matrix: {k: []}\n    cmd: x\n", "a"),
        "matrix of a text": ("stages:\n  a:\n    matrix: {k: x}\n    cmd: x\n", "a"),
        "matrix of maps": ("stages:\n  a:\n    matrix: {k: [{b: 1}]}\n    cmd: 'x ${item.k}'\n", "a"),
        "matrix and foreach": ("stages:\n  a:\n    matrix: {k: [1]}\n    foreach: [1]\n    do: {cmd: x}\n", "dvc.yaml"),
        "matrix of a key that is none": ("stages:\n  a:\n    matrix: {k: [1]}\n    cmd: 'x ${item.j}'\n", "item.j"),
        "matrix with NaN": ("stages:\n  a:\n    matrix: {k: [.nan, .nan]}\n    cmd: 'x ${item.k}'\n", "a@"),
        "a wdir of a template": (stages(a='cmd: x, wdir: "${nothing}"'), "nothing"),
        "meta of a template": (stages(a='cmd: x, meta: {ray: {num_cpus: "${nothing}"}}'), "a"),
    }
)

OF_PARAMS = stages(one="cmd: x, params: [p], outs: [o]")


def _params(name: str, thing: Thing, dvcyaml: str = OF_PARAMS, file: str = "params.yaml", says: str = "") -> Case:
    endless = thing in {FIFO, Link("/dev/full")} or name == "a bomb"  # stock would go on with them for ever
    return Case(f"params: {name}", {"dvc.yaml": dvcyaml, file: thing}, says or file, fine=None, stock=not endless)


def _custom(file: str, key: str = "p") -> str:
    return stages(one=f"cmd: x, params: [{{{file}: [{key}]}}], outs: [o]")


def _broken(file: str) -> dict[str, Thing]:
    return {
        "missing": NOTHING,
        "broken": "p = [{(",
        "empty": "",
        "no UTF-8": b"\xff",
        "NUL": "\0",
        "deep": "[" * 700 if file != "q.toml" else "p = " + "[" * 700,
        "FIFO": FIFO,
        "a folder": FOLDER,
    }


PARAMS = [
    _params("missing file", NOTHING),
    _params("empty", ""),
    _params("missing key", "q: 1\n", says="p"),
    _params("null key", "p:\n"),
    _params("tab", "\tp: 1"),
    _params("NUL", "\0"),
    _params("no UTF-8", b"p: \xff\n"),
    _params("a list", "[1, 2]"),
    _params("a text", "text"),
    _params("a number", "5"),
    _params("deep", "p: " + "[" * 700),
    _params("deep and closed", "p: " + "[" * 200 + "]" * 200),
    _params("a bomb", BOMB + "p: *a8\n"),
    _params("of itself", "p: &a [*a]\n"),
    _params("digits", f"p: {DIGITS}\n"),
    _params("a date", "p: 2020-01-01\n"),
    _params("no date", "p: 2020-13-01\n"),
    _params("NaN", "p: .nan\n"),
    _params("a merge conflict", "<<<<<<< HEAD\np: 1\n=======\np: 2\n>>>>>>> x\n"),
    _params("duplicate keys", "p: 1\np: 2\n"),
    _params("a tag", "p: !!python/name:os.system\n"),
    _params("a folder", FOLDER),
    _params("a FIFO", FIFO),
    _params("a socket", SOCKET),
    _params("a link to nothing", Link("nothing")),
    _params("a link to itself", Link("params.yaml")),
    _params("a link to a device", Link("/dev/full")),
    *(
        _params(f"{file} {name}", thing, _custom(file), file)
        for file in ("q.json", "q.toml", "q.py", "sub/q.yaml")
        for name, thing in _broken(file).items()
    ),
    _params("JSON of digits", f'{{"p": {DIGITS}}}', _custom("q.json"), "q.json"),
    _params("TOML of digits", f"p = {DIGITS}", _custom("q.toml"), "q.toml"),
    _params("Python that runs", "import os\np = os.system('touch hacked')\n", _custom("q.py"), "q.py", says="p"),
    _params("Python of digits", f"p = {DIGITS}", _custom("q.py"), "q.py"),
    _params("Python of deep parentheses", "p = " + "(" * 500 + ")" * 500, _custom("q.py"), "q.py"),
    _params("a key of a list", "p: [1]\n", _custom("params.yaml", "p.5")),
    _params("a key with dots", "p: 1\n", _custom("params.yaml", "p..x")),
    _params("a key that is empty", "p: 1\n", _custom("params.yaml", '""')),
    _params("a key with an escape", "p: 1\n", _custom("params.yaml", '"\\e[2J"')),
    _params("outside", "", _custom("../../nowhere.yaml"), "in.txt", says="nowhere.yaml"),
    _params("a name with an escape", "", _custom('"a\\e[2J.yaml"'), "in.txt", says="a\\x1b[2J.yaml"),
]
"""With `vars` DVC reads params.yaml for each dvc.yaml, and also where no stage asks for it."""


@pytest.mark.parametrize("case", params(GRAPHS))
def test_a_graph(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(TEMPLATES))
def test_a_template(lab: Lab, case: Case) -> None:
    lab.check(case)


@pytest.mark.parametrize("case", params(PARAMS))
def test_params(lab: Lab, case: Case) -> None:
    lab.check(case)


JSON = [
    replace(case, name=f"json: {case.name}", args=("repro", "--json", "--dry"), says="", fine=None)
    for case in (*GRAPHS[::9], *TEMPLATES[::9], *PARAMS[::9])
]


@pytest.mark.parametrize("case", params(JSON))
def test_as_json(lab: Lab, case: Case) -> None:
    lab.check(case)
