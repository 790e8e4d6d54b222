"""dvc.yaml as DVCLive leaves it, of stages that run at the same time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvclive.dvc import update_dvcyaml
from dvclive.serialize import dump_yaml

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.repo.write.dvc_yaml import DvcYaml, Written
from dvc_ray.values.report import Notice, RunEvent
from dvc_ray.values.run import RunRequest
from tests.helpers import stock
from tests.helpers.listening import telling
from tests.helpers.projects import Make


class Ending(LocalExecutor):
    """Runs what is queued before it tells of any; then of one after another, those first that are named first.

    Args:
        order: Ends of names of stages.
    """

    def __init__(self, order: Iterable[str]) -> None:
        super().__init__()
        self._order = list(order)
        self._ended: dict[str, Sequence[Any]] = {}

    def events(self, timeout: float) -> Sequence[Any]:
        for _ in range(len(self._queue)):
            seen = super().events(timeout)
            self._ended[seen[-1].address] = seen
        if not self._ended:
            return []
        places = {
            name: next(at for at, end in enumerate([*self._order, ""]) if name.endswith(end)) for name in self._ended
        }
        return self._ended.pop(min(places, key=places.__getitem__))


def both(root: Path, executor: LocalExecutor, request: RunRequest | None = None) -> str:
    """Run a project with stock DVC in a copy and with dvc-ray; what differs, and what was warned of."""
    other = root.parent / "stock"
    if not other.exists():
        stock.sh(root.parent, f"cp -a {root} {other}")
    wanted = request or RunRequest()
    flags = [
        *wanted.targets,
        *(["--all-pipelines"] if wanted.all_pipelines else []),
        *(["--force"] if wanted.force else []),
        *(["--single-item"] if wanted.single_item else []),
    ]
    assert stock.dvc(other, "repro", *flags) == 0
    events: list[RunEvent] = []
    with stock.in_directory(root):
        result = api.repro(wanted, executor=executor, sinks=telling(events.append))
    assert not result.failed, result.reports
    warned = [event.text for event in events if isinstance(event, Notice) and event.level == "warning"]
    return "\n".join([*warned, *stock.differences(stock.snapshot(other), stock.snapshot(root))])


LIVE = """
import sys
from dvclive import Live

with Live(sys.argv[1]) as live:
    live.log_params({"name": sys.argv[1]})
    for step in range(2):
        live.log_metric("loss", len(sys.argv[1]) + step)
        live.next_step()
    live.log_artifact("live.py", type="model", name=sys.argv[1].rsplit("/")[-1], cache=False)
    live.log_plot("made", [{"x": 1, "y": 2}], x="x", y="y") if "b" in sys.argv[1] else None
"""
MATRIX = """\
# kept
vars:
  - base: &base {x: 1}   # an anchor
    more: *base
  - rate: 1.0e-5


stages:
  train:
    matrix: {m: [a, b, c]}
    cmd: python live.py results/${item.m}

    outs:
      - results/${item.m}
"""


def test_each_item_of_a_matrix_keeps_its_entries(project: Make) -> None:
    root = project({"dvc.yaml": MATRIX, "live.py": LIVE})
    assert both(root, Ending("cab")) == ""
    assert both(root, Ending("bca"), RunRequest(force=True)) == ""  # when all the entries are there already
    request = RunRequest(targets=("train@a",), single_item=True, force=True)
    assert both(root, Ending("ca"), request) == ""  # alone


OTHERS = """\
metrics:
  # of another stage
  - eval/metrics.json   # by hand
plots:
- eval/plots/roc.json:
    x: fpr  # false positives
    y: tpr
- Losses:
    x: step
    y:
      live/a/plots/metrics/loss.tsv: loss

stages:
  first:
    cmd: mkdir -p eval && echo {} > eval/metrics.json && python live.py live/a
    outs: [eval/metrics.json: {cache: false}, live/a]
  second:
    cmd: python live.py live/b
    deps: [first.txt]
    outs: [live/b]
  zero:
    cmd: echo > first.txt && python live.py live
    outs: [first.txt]
"""


def test_a_stage_later_in_the_plan_ends_before_the_others_begin(project: Make) -> None:
    """It is what they begin with then, and comes after them all the same; and a dir that is part of others' paths."""
    root = project({"dvc.yaml": OTHERS, "live.py": LIVE, ".gitignore": "__pycache__\n"})
    assert both(root, Ending(["first", "zero"])) == ""


def test_two_dvc_yaml_files(project: Make) -> None:
    one = "stages:\n" + "".join(f"  {n}: {{cmd: python live.py exp/{n}, outs: [exp/{n}]}}\n" for n in "ab")
    there = "stages:\n" + "".join(
        f"  {n}:\n    cmd: python ../live.py runs/{n}\n    wdir: work\n    outs: [runs/{n}]\n" for n in "ab"
    )
    root = project(
        {
            "dvc.yaml": one + there.removeprefix("stages:\n").replace("  a:", "  c:").replace("  b:", "  d:"),
            "live.py": LIVE,
            "work/x": "",
            "sub/dvc.yaml": one.replace("live.py", "../live.py"),
        }
    )
    assert both(root, Ending(["d", "c", "b", "a"]), RunRequest(all_pipelines=True)) == ""
    assert (root / "work/dvc.yaml").exists()  # made by two stages


SECTIONS = (
    "metrics:\n- eval.json\n",
    "metrics:\n  # c\n  - eval/metrics.json  # d\n  - other.json\n\n",
    "params:\n  - p.yaml\n",
    "plots:\n  - roc.json:\n      x: fpr # e\n      # before y\n      y: tpr\n\n# after plots\n",
    "artifacts:\n  m:\n    path: m.pt  # f\n    type: model\n\n",
    "artifacts:\n  # h\n  k: {path: live/a/k.pt}\n",
    "# lead\nstages:\n  s:\n    cmd: echo   # g\n\n    outs: [a, b]\n",
    "vars:\n  - &x {a: 1}\n  - *x\n",
)
FOLDERS = ("a", "b", "live/a", "live", "aa", "x/live/b")


@dataclass(frozen=True)
class Logs:
    """What a stage logs: DVCLive's directory, and each of its updates."""

    dir: str
    updates: tuple[dict[str, Any], ...]

    def written_to(self, text: bytes | None, path: Path) -> bytes:
        """What DVCLive makes of a file."""
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_bytes(text)
        with stock.in_directory(path.parent):
            for update in self.updates:
                if path.exists():
                    update_dvcyaml(SimpleNamespace(dvc_file=path.name, dir=self.dir), deepcopy(update))
                else:
                    dump_yaml(update, path.name)
        return path.read_bytes()

    def touched(self, entry: str) -> bool:
        return f"{entry}/".startswith(f"{self.dir}/")


def some_logs(chance: random.Random, folder: str) -> Logs:
    plots: list[Any] = [{f"{folder}/plots/metrics": {"x": "step"}}]
    if chance.random() < 0.4:
        plots += [f"{folder}/plots/images", {f"{folder}/plots/custom/c.json": {"template": "simple", "x": "x"}}]
    made: dict[str, Any] = {"params": [f"{folder}/params.yaml"]} if chance.random() < 0.5 else {}
    made |= {"metrics": [f"{folder}/metrics.json"], "plots": plots}
    if chance.random() < 0.4:
        path = chance.choice(["m.pt", f"{folder}/artifacts/m.pt"])
        made["artifacts"] = {f"of-{folder[-1]}-{len(folder)}": {"path": path, "type": "model"}}
    return Logs(folder, (made,) * chance.randint(2, 3))


@pytest.mark.parametrize("seed", range(15))
def test_whatever_the_order_the_file_is_that_of_a_serial_run(seed: int, tmp_path: Path) -> None:
    """Random files, also of runs before; stages begin and end in random orders, some after others have ended."""
    chance, path = random.Random(seed), tmp_path / "dvc.yaml"  # noqa: S311
    sections = {text.lstrip("# lead\n").split(":")[0]: text for text in chance.sample(SECTIONS, 5)}
    begun: bytes | None = "".join(sections.values()).encode() if seed % 5 else None
    for folder in chance.sample(FOLDERS, 2) if seed % 2 else ():
        begun = some_logs(chance, folder).written_to(begun, path)
    stages = [some_logs(chance, folder) for folder in chance.sample(FOLDERS, chance.randint(2, 5))]
    expected = begun
    for each in stages:
        expected = each.written_to(expected, path)
    waiting = chance.sample(range(len(stages)), len(stages))
    running: dict[int, bytes | None] = {}
    file, now = DvcYaml(lambda *_: None), begun
    while waiting or running:
        while waiting and len(running) < 1 + seed % 4:
            running[waiting.pop()] = now
        place = chance.choice(list(running))
        base = running.pop(place)
        result = stages[place].written_to(base, path)
        touched = stages[place].touched
        now, conflicts = file.take(now, Written(place=place, who=str(place), base=base, result=result, touched=touched))
        assert conflicts == ()
    assert (now or b"").decode() == (expected or b"").decode()


def test_what_a_command_does_to_dvc_yaml_itself_is_kept_too(project: Make) -> None:
    text = "stages:\n" + "".join(
        f"  {name}:\n    cmd: >-\n      python live.py exp/{name} &&\n"
        f"      sed -i 's/{name}_note[:] x/{name}_note: y/' dvc.yaml\n"
        f"    outs: [exp/{name}]\n"
        for name in "ab"
    )
    notes = "vars:\n- a_note: x\n- one: 1\n- two: 2\n- three: 3\n- b_note: x\n"
    root = project({"dvc.yaml": text + notes, "live.py": LIVE})
    assert both(root, Ending("ba")) == ""


ODD = {
    "broken": b"stages: [\n",
    "not UTF-8": b"\xff\xfe",
    "a list": b"- one\n",
    "sections of other kinds": b"metrics: 5\nplots: {a: b}\nparams: text\nartifacts: [1]\n",
    "entries of other kinds": b"metrics: [1, null, {a: b, c: d}]\nartifacts: {a: null, b: {path: 5}, c: 1}\n",
}
LIVES = b"metrics:\n- dvclive/metrics.json\nplots:\n- dvclive/plots/metrics: {x: step}\n"


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("where", ["base", "now", "result"])
def test_whatever_the_file_is_something_is_left(kind: str, where: str) -> None:
    """By a command, by the user meanwhile."""
    odd = ODD[kind]
    base, now, result = (
        odd if where == each else LIVES if each == "result" else b"" for each in ("base", "now", "result")
    )
    file = DvcYaml(lambda *_: None)
    for place in (2, 1):
        written = Written(place=place, who=str(place), base=base, result=result, touched=lambda _: True)
        now, _ = file.take(now, written)
        assert now
