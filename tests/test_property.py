"""Small pipelines, made up at random, leave what stock DVC leaves through a life of runs, changes and failures."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.run import OnError, RunRequest
from tests.helpers import stock

TOOL = '''
"""tool.py KIND OUT VALUE DEP...: writes what it has read; fails if the value says so."""
import os, pathlib, sys

kind, out, value, *deps = sys.argv[1:]
text = value + "".join(
    f"{path.name}={path.read_text()!r};"
    for dep in deps
    for path in ([pathlib.Path(dep)] if os.path.isfile(dep) else sorted(pathlib.Path(dep).rglob("*")))
    if path.is_file() and path.name != ".gitignore"
)
mode = "a" if "persist" in kind else "w"
files = [out]
if "folder" in kind:
    os.makedirs(f"{out}/sub", exist_ok=True)
    files = [f"{out}/one", f"{out}/sub/two"]
os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
for number, file in enumerate(files):
    with open(file, mode) as stream:
        stream.write(f"{number}{len(text)}{text[-300:]}\\n")
sys.exit(value == "fail")
'''

KINDS = ("file", "folder", "file uncached", "folder uncached", "file persist", "folder persist", "metric", "executable")
PLACES = ((".", "."), (".", "work"), ("sub", "."), ("sub", "inner"))
"""Directory of dvc.yaml, and wdir within it."""


@dataclass(frozen=True)
class Stage:
    """A stage of a made-up pipeline; paths relative to the project."""

    number: int
    kind: str
    place: tuple[str, str]
    shared: bool
    """Whether its out lies in a folder with others', which the last stage may read as a whole."""
    items: bool
    """Whether it is a foreach."""
    templated: bool
    always: bool
    deps: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"s{self.number}"

    @property
    def outs(self) -> list[str]:
        folder = "shared/" if self.shared else ""
        return [f"{folder}out{self.number}{item}" for item in (("-a", "-b") if self.items else ("",))]

    @property
    def readable(self) -> list[str]:
        """What a later stage may depend on: the outs, and what lies in them."""
        inside = ["/one", "/sub"] if "folder" in self.kind else []
        return [out + part for out in self.outs for part in ("", *inside)]

    def definition(self) -> dict[str, Any]:
        wdir = os.path.normpath(os.path.join(*self.place))

        def here(path: str) -> str:
            return os.path.relpath(path, wdir)

        out = here(self.outs[0].replace("-a", "-${item}"))
        read = f"$(sed -n 's/^p{self.number}. //p' {here('params.yaml')})"
        value = f"${{p{self.number}}}" if self.templated else read
        deps = [here(path) for path in self.deps]
        chmod = f" && chmod +x {out}" if self.kind == "executable" else ""
        found: dict[str, Any] = {
            "cmd": f"python {here('tool.py')} '{self.kind}' {out} \"{value}\" {' '.join(deps)}{chmod}",
            "wdir": self.place[1],
            "params": [{here("params.yaml"): [f"p{self.number}"]}],
            **({"deps": deps} if deps else {}),
            **({"always_changed": True} if self.always else {}),
        }
        flags = {"persist": True} if "persist" in self.kind else {}
        if "uncached" in self.kind or self.kind == "metric":
            flags["cache"] = False
        found["metrics" if self.kind == "metric" else "outs"] = [{out: flags} if flags else out]
        return {"foreach": ["a", "b"], "do": found} if self.items else found


@st.composite
def pipelines(draw: st.DrawFn, most: int = 6) -> list[Stage]:
    stages: list[Stage] = []
    count = draw(st.integers(2, most))
    for number in range(count):
        readable = ["in.txt", "data", "data/x", *(path for stage in stages for path in stage.readable)]
        last = number == count - 1
        whole = last and any(stage.shared for stage in stages) and draw(st.booleans())
        chosen = draw(st.lists(st.sampled_from(readable), max_size=3, unique=True))
        deps = [path for path in chosen if not any(path.startswith(f"{other}/") for other in chosen)]
        if whole:
            deps = [*(path for path in deps if not path.startswith("shared/")), "shared"]
        stages.append(
            Stage(
                number=number,
                kind=draw(st.sampled_from(KINDS)),
                place=draw(st.sampled_from(PLACES)),
                shared=draw(st.booleans()) and not whole,
                items=draw(st.integers(0, 3)) == 3,
                templated=draw(st.booleans()),
                always=draw(st.integers(0, 5)) == 5,
                deps=tuple(deps),
            )
        )
    return stages


CHANGES = ("param", "file", "folder", "lock", "lost out", "edited out", "frozen")


@dataclass(frozen=True)
class Life:
    """What happens to a project between runs."""

    change: str
    which: int
    """Stage that it happens to, and that fails."""
    keep_going: bool


lives = st.builds(Life, st.sampled_from(CHANGES), st.integers(0, 5), st.booleans())


def write(root: Path, stages: list[Stage], frozen: str = "") -> None:
    for folder in (".", "sub"):
        found = {stage.name: stage.definition() for stage in stages if stage.place[0] == folder}
        if frozen in found:
            (found[frozen].get("do") or found[frozen])["frozen"] = True
        text: dict[str, Any] = {"stages": found} if found else {}
        if folder == "sub":
            text["vars"] = ["../params.yaml"]
        if found:
            (root / folder / "dvc.yaml").write_text(yaml.safe_dump(text, sort_keys=False))


def make(root: Path, stages: list[Stage]) -> None:
    for folder in ("data", "work", "sub/inner"):
        (root / folder).mkdir(parents=True)
    for path, text in {"in.txt": "in\n", "data/x": "x\n", "data/y": "y\n", "tool.py": TOOL}.items():
        (root / path).write_text(text)
    for folder in ("work", "sub", "sub/inner"):
        (root / folder / "keep").touch()
    params(root, stages)
    write(root, stages)
    stock.initialise(root)


def params(root: Path, stages: list[Stage], which: int = -1, value: str = "") -> None:
    values = {stage.number: value if stage.number == which else "1" for stage in stages}
    (root / "params.yaml").write_text("".join(f"p{number}: {found}\n" for number, found in values.items()))


def change(root: Path, stages: list[Stage], life: Life) -> None:
    stage = stages[life.which % len(stages)]
    out = root / stage.outs[-1]
    if life.change == "param":
        params(root, stages, stage.number, "2")
    elif life.change in {"file", "folder"}:
        (root / {"file": "in.txt", "folder": "data/new"}[life.change]).write_text("changed\n")
    elif life.change == "lock":
        for lock in root.rglob("dvc.lock"):
            lock.unlink()
    elif life.change == "frozen":
        write(root, stages, frozen=stage.name)
        params(root, stages, stage.number, "2")
    elif out.is_dir():
        shutil.rmtree(out)
    else:
        out.unlink()
        if life.change == "edited out":
            out.write_text("edited: 1\n")


def compare(
    ours: Path, theirs: Path, step: str, *, force: bool = False, jobs: int = 4, keep_going: bool = False
) -> None:
    """Run both sides and compare what they leave."""
    flags = [*(["--force"] if force else []), *(["--keep-going"] if keep_going else [])]
    code = stock.dvc(theirs, "repro", "-P", *flags)
    on_error = OnError.KEEP_GOING if keep_going else OnError.FAIL
    with stock.in_directory(ours):
        request = RunRequest(all_pipelines=True, force=force, jobs=jobs, on_error=on_error)
        result = api.repro(request, executor=LocalExecutor())
    assert bool(result.failed) == bool(code), (step, [report.error for report in result.failed])
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == [], step


def live(stages: list[Stage], life: Life) -> None:
    """First run, no change, a change, a forced run, a failure half-way, and its repair."""
    with tempfile.TemporaryDirectory(prefix="dvc-ray-") as folder:
        ours, theirs = Path(folder, "ours", "project"), Path(folder, "stock", "project")
        make(ours, stages)
        shutil.copytree(ours, theirs, symlinks=True)
        note((ours / "dvc.yaml").read_text() if (ours / "dvc.yaml").exists() else "")
        compare(ours, theirs, "first run")
        compare(ours, theirs, "no-op")
        for root in (ours, theirs):
            change(root, stages, life)
        compare(ours, theirs, life.change)
        compare(ours, theirs, "forced", force=True)
        failing = stages[life.which % len(stages)].number
        for root in (ours, theirs):
            write(root, stages)
            params(root, stages, failing, "fail")
            (root / "in.txt").write_text("for the failure\n")
        # One at a time: what ran beside a failed stage is kept, and stock DVC would not have started it.
        compare(ours, theirs, "failure", jobs=1, keep_going=life.keep_going)
        for root in (ours, theirs):
            params(root, stages, failing, "mended")
        compare(ours, theirs, "mended")


def many(examples: int, *, fixed: bool) -> settings:
    return settings(
        max_examples=examples,
        derandomize=fixed,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def stage(number: int, kind: str, *deps: str, **more: Any) -> Stage:
    plain: dict[str, Any] = {"place": (".", "."), "items": False, "templated": True, "always": False, "shared": False}
    return Stage(number=number, kind=kind, deps=deps, **{**plain, **more})


@pytest.mark.core
@example(  # a frozen stage sees of others' outs what it would see in its turn
    stages=[stage(0, "folder persist", always=True), stage(1, "metric", "out0/one")],
    life=Life("frozen", 1, keep_going=True),
)
@given(pipelines(most=4), lives)
@many(3, fixed=True)
def test_a_few_pipelines(stages: list[Stage], life: Life) -> None:
    live(stages, life)


@pytest.mark.full
@given(pipelines(), lives)
@many(100, fixed=False)
def test_many_pipelines(stages: list[Stage], life: Life) -> None:
    live(stages, life)
