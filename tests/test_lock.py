"""dvc.lock, written entry by entry, is what DVC's own dumper would have written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from dvc.repo import Repo
from dvc.stage.loader import StageLoader
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dvc_ray.repo.write.lockfile import Locks
from tests.helpers.stock import in_directory

pytestmark = pytest.mark.core

_MD5: Final = "0123456789abcdef0123456789abcdef"

_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_EDITS: Final[dict[str, Callable[[str], str]]] = {
    "as DVC left it": lambda text: text,
    "a comment at its start": lambda text: f"# mine\n{text}",
    "a comment at its end": lambda text: f"{text}# mine\n",
    "a comment in an entry": lambda text: text.replace("    deps:\n", "    # mine\n    deps:\n", 1),
    "an empty line": lambda text: text.replace("    deps:\n", "\n    deps:\n", 1),
    "other quotes": lambda text: text.replace("'2.0'", '"2.0"'),
    "no entries": lambda text: text.partition("stages:")[0] + "stages: {}\n",
    "datasets": lambda text: f"{text}datasets:\n- name: d\n  url: u\n",
}


class _Lab:
    """An empty project, whose dvc.lock is written by DVC or by us."""

    def __init__(self, root: Path) -> None:
        with in_directory(root):
            self.repo = Repo.init(no_scm=True)
        self.root = root
        self.path = root / "dvc.lock"

    def stages(self, entries: dict[str, Any]) -> list[Any]:
        """Stages that have these results: a command and a value of a parameter each, by name."""
        from dvc.dvcfile import ProjectFile

        dvcfile = ProjectFile(self.repo, str(self.root / "dvc.yaml"))
        return [_stage(dvcfile, name, cmd, value) for name, (cmd, value) in entries.items()]

    def by_dvc(self, found: str | None, entries: dict[str, Any]) -> str:
        """What DVC leaves that finishes them one by one."""
        self._put(found)
        for stage in self.stages(entries):
            stage.dvcfile._lockfile.dump(stage)
        return self.path.read_text(encoding="utf-8")

    def by_us(self, found: str | None, entries: dict[str, Any], batches: list[list[str]]) -> str:
        """What we leave if they finish in another order, several at a time."""
        self._put(found)
        stages = {stage.name: stage for stage in self.stages(entries)}
        locks = Locks({(str(self.path), name): place for place, name in enumerate(stages)})
        for batch in batches:
            locks.write([stages[name] for name in batch])
        return self.path.read_text(encoding="utf-8")

    def _put(self, found: str | None) -> None:
        self.path.unlink(missing_ok=True)
        if found is not None:
            self.path.write_text(found, encoding="utf-8")


def _stage(dvcfile: Any, name: str, cmd: Any, value: Any) -> Any:
    lock = {
        "cmd": cmd,
        "deps": [{"path": "in", "md5": _MD5, "size": 3}],
        "params": {"params.yaml": {"p": value}},
        "outs": [{"path": f"{name}.out", "md5": _MD5, "size": 4}],
    }
    definition = {"cmd": cmd, "deps": ["in"], "params": ["p"], "outs": [f"{name}.out"]}
    return StageLoader.load_stage(dvcfile, name, definition, lock)


@pytest.fixture(scope="module")
def lab() -> Iterator[_Lab]:
    with tempfile.TemporaryDirectory() as root:
        lab = _Lab(Path(root).resolve())
        with contextlib.closing(lab.repo):
            yield lab


_OLD: Final = {"c": ("echo c", 1), "old": ("echo old", 2), "a": ("echo a", [3])}
_NEW: Final = {"a": ("echo a", [3]), "b": (["echo b", "echo b2"], 1e-05), "c": ("echo new", 1), "d": ("x\ny\n", {})}


@pytest.mark.parametrize("edit", _EDITS)
def test_file_as_found(lab: _Lab, edit: str) -> None:
    found = _EDITS[edit](lab.by_dvc(None, _OLD))
    expected = lab.by_dvc(found, _NEW)
    assert lab.by_us(found, _NEW, [["d"], ["c", "a"], ["b"]]) == expected


def test_no_file(lab: _Lab) -> None:
    assert lab.by_us(None, _NEW, [["d"], ["c", "a"], ["b"]]) == lab.by_dvc(None, _NEW)


def test_value_that_stands_twice_in_an_entry(lab: _Lab) -> None:
    """YAML gives it an anchor, and the names of anchors are numbers counted through the file."""
    twice = [1, 2]
    entries = {"a": ("a", {"x": twice, "y": twice}), "b": ("b", 1), "c": ("c", {"x": twice, "y": twice})}
    assert lab.by_us(None, entries, [["c"], ["b"], ["a"]]) == lab.by_dvc(None, entries)


def test_numbers_that_each_dump_changes(lab: _Lab) -> None:
    """ruamel.yaml writes what it has read with other last digits, and DVC writes the file for each stage anew."""
    numbers = [3.402771346162552e-08, 4.856435082931565e-13, -3.724711554723822e-07]
    entries = {f"s{place}": ("echo", numbers) for place in range(5)}
    found = lab.by_dvc(None, {"s9": ("echo", numbers), "s3": ("echo", 1)})
    expected = lab.by_dvc(found, entries)
    assert len({line for line in expected.splitlines() if "e-13" in line}) > 1
    assert lab.by_us(found, entries, [["s4", "s1"], ["s0"], ["s3", "s2"]]) == expected


def test_value_that_stands_in_two_entries(lab: _Lab) -> None:
    entries = {name: (name, [1, 2]) for name in "ab"}
    stages = lab.stages(entries)
    stages[0].deps[-1].hash_info.value["p"] = stages[1].deps[-1].hash_info.value["p"]
    expected = lab.by_dvc("# whole\nschema: '2.0'\n", entries)
    lab.path.write_text("# whole\nschema: '2.0'\n")
    locks = Locks({(str(lab.path), name): place for place, name in enumerate(entries)})
    locks.write([stages[1]])
    locks.write([stages[0]])
    assert lab.path.read_text() == expected


def test_file_changed_by_somebody_during_the_run(lab: _Lab) -> None:
    found = lab.by_dvc(None, _OLD)
    stages = {stage.name: stage for stage in lab.stages(_NEW)}
    locks = Locks({(str(lab.path), name): place for place, name in enumerate(stages)})
    locks.write([stages["d"]])
    lab.path.write_text(f"# mine\n{lab.path.read_text()}")
    locks.write([stages["b"]])
    locks.write([stages["a"], stages["c"]])
    assert lab.path.read_text() == "# mine\n" + lab.by_dvc(found, _NEW)


def test_file_removed_by_somebody_during_the_run(lab: _Lab) -> None:
    lab.by_dvc(None, _OLD)
    stages = {stage.name: stage for stage in lab.stages(_NEW)}
    locks = Locks({(str(lab.path), name): place for place, name in enumerate(stages)})
    locks.write([stages["d"]])
    os.unlink(lab.path)
    locks.write([stages["c"]])
    locks.write([stages["b"]])
    assert lab.path.read_text() == lab.by_dvc(None, {name: _NEW[name] for name in ("b", "c")})


@settings(max_examples=30, deadline=None, database=None, phases=[Phase.generate])
@given(data=st.data())
def test_any_content(lab: _Lab, data: st.DataObject) -> None:
    names = data.draw(
        st.lists(st.from_regex(r"[a-z0-9]{1,6}(@[^\W_]{1,200})?", fullmatch=True), unique=True, min_size=1)
    )
    entries = {name: (data.draw(_texts), data.draw(_values)) for name in names[:5]}
    old = {name: (data.draw(_texts), data.draw(_values)) for name in data.draw(st.permutations(names[:5]))[::2]}
    order = data.draw(st.permutations(list(entries)))
    cut = data.draw(st.integers(0, len(order)))
    edit = data.draw(st.sampled_from(sorted(_EDITS)))
    found = _EDITS[edit](lab.by_dvc(None, old)) if data.draw(st.booleans()) else None
    expected = lab.by_dvc(found, entries)
    assert lab.by_us(found, entries, [batch for batch in (order[:cut], order[cut:]) if batch]) == expected
