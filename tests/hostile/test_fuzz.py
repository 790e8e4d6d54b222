"""Whatever stands where something is read back: an answer, or an error of ours; and nothing is written elsewhere."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dvc_ray import processes
from dvc_ray.cli.output import plain
from dvc_ray.errors import ConfigError
from dvc_ray.node.bundles import unpack
from dvc_ray.runs import directory
from dvc_ray.runs.results import codec
from dvc_ray.settings.failures import RefusedError
from dvc_ray.settings.meta_ray import parse
from dvc_ray.settings.schema import SETTINGS
from dvc_ray.settings.sources import resolve
from dvc_ray.values.run import RunRequest
from dvc_ray.values.task import BundledFile, FileBundle
from tests.helpers.campaign import GOOD, Case, Lab, snapshot

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
# `lab` and `tmp_path` are of no example's own; what one leaves there is no matter for the next.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def quickly(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=SHARED, database=None)


@quickly(100)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_ray_toml(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ray.toml").write_bytes(data)
    with contextlib.suppress(ConfigError):
        resolve(RunRequest(), str(tmp_path), {"XDG_CONFIG_HOME": str(tmp_path)})


@quickly(100)
@given(st.sampled_from(list(SETTINGS)), TREES)
def test_a_setting(tmp_path: Path, key: str, value: Any) -> None:
    with contextlib.suppress(RefusedError):
        SETTINGS[key].read(value)


RETRIES = st.dictionaries(st.sampled_from(["max", "exit_codes", "timeout", "delay", "x"]), TREES, max_size=3)


@quickly(150)
@given(st.sampled_from(["retries", "resources", "label_selector", "env", "runtime_env"]), RETRIES | TREES)
def test_meta_ray(key: str, value: Any) -> None:
    with contextlib.suppress(ConfigError):
        parse("one", {"ray": {key: value}})


ODD = (".", "", "\udcff", "a\nb", "a\0b", "n" * 300)
PARTS = st.sampled_from([*["..", "a", "b"] * 8, *ODD])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MODES = st.sampled_from([stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, 0]).flatmap(
    lambda kind: st.sampled_from([kind, kind | 0o644, kind | 0o7777])
)
TARGETS = st.sampled_from([b"..", b"../mine", b"../new", b"/", b"a", b"b", b"\xff", b"a\0b", b""])
PACKED = st.builds(
    BundledFile,
    path=NAMES,
    mode=MODES,
    mtime_ns=st.sampled_from([0, 0, 0, -1, 2**70]),
    data=TARGETS,
)


def packed(path: str, mode: int, data: bytes = b"") -> BundledFile:
    return BundledFile(path=path, mode=mode, mtime_ns=0, data=data)


@quickly(200)
@given(st.lists(PACKED, max_size=3))
@example([packed("../a/b", stat.S_IFREG)])
@example([packed("a", stat.S_IFLNK, b"../mine"), packed("a", stat.S_IFREG, b"yours")])
@example([packed("a", stat.S_IFLNK, b".."), packed("a/b/c", stat.S_IFREG)])
def test_the_returned_files_leads_nowhere_else(tmp_path: Path, files: list[BundledFile]) -> None:
    """It may be refused, in the middle too; but never is anything written, or changed, beside the folder it is for."""
    outer = tmp_path / "outer"
    root = outer / "1/2/3/folder"  # as far up as a name may lead, it is still ours
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root.parent / "mine").write_text("mine\n")
    before = _beside(outer)
    with contextlib.suppress(OSError, ValueError, OverflowError):
        unpack(FileBundle(id="x", files=tuple(files)), str(root))
    assert _beside(outer) == before


def _beside(outer: Path) -> dict[str, str]:
    return {name: look for name, look in snapshot(outer).items() if not name.startswith("1/2/3/folder")}


KEY = "key"


@quickly(150)
@given(st.binary(max_size=80) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_a_kept_result(data: bytes) -> None:
    """Also one that is signed: by a worker of another version, or one that was broken into."""
    assert codec.signed(data, KEY) is None
    assert codec.signed(codec.sign(data, KEY), KEY) == data
    assert codec.decode(data) is None


@quickly(150)
@given(
    st.dictionaries(st.sampled_from(["outs", "path", "address", "code", "links", "attempt"]), TREES, max_size=3), TREES
)
def test_a_kept_result_with_anything_in_it(task: dict[str, Any], result: Any) -> None:
    for found in (
        result,
        {"state": "done", "changed": result},
        {"state": "done", "changed": [], "returned_files": result},
    ):
        body = json.dumps({"version": codec.VERSION, "task": task, "result": found}).encode()
        assert codec.decode(body) is None


@quickly(100)
@given(st.binary(max_size=40) | TREES.map(lambda tree: json.dumps(tree).encode()), st.binary(max_size=40))
def test_a_journal(tmp_path: Path, driver: bytes, note: bytes) -> None:
    dvc_dir = tmp_path / ".dvc"
    run = dvc_dir / "tmp" / "ray" / "runs" / "x"
    (run / "work").mkdir(parents=True, exist_ok=True)
    (run / "driver.json").write_bytes(driver)
    (run / "work" / directory._REMOTE).write_bytes(note)
    assert isinstance(processes.read(run / "driver.json"), dict)
    assert directory.busy(str(dvc_dir)) is None
    for in_workspace in (True, False):
        for work in directory.dead_work(str(dvc_dir), in_workspace=in_workspace):
            with directory.results_in_remote(work) as key:
                assert isinstance(key, str)


@quickly(200)
@given(st.text(st.characters() | st.sampled_from("\x1b[]2J;m\x07\x9b\\?P_^\r\n\b"), max_size=40))
def test_plain_text(text: str) -> None:
    assert json.loads(plain.dumps(text)) == text
    for shown in (plain.one_line(text), plain.lines(text).replace("\n", ""), plain.dumps(text)):
        assert not [c for c in shown if c != "\t" and plain._is_hidden(c)]
    rest = plain._SEQUENCE.sub(lambda match: "" if match[1] else match[0], plain.output(text.replace("\n", "")))
    assert not [c for c in rest if c < " " and c != "\t"]
    assert "\x1b" not in rest
    assert "\x9b" not in rest


VALID = GOOD + "  two:\n    cmd: cat out.txt\n    deps: [out.txt]\n    params: [p]\n    meta: {ray: {num_cpus: 2}}\n"
PIECES = st.sampled_from(
    [
        *"\n:[]{}\"'#|>\t\0\x1b\ufeff\u202e~5/",
        *("  ", "- ", "&a ", "*a", "<<: ", "${p}", "${", "!!int ", "null", "---\n", ".."),
        *("stages:", "one:", "deps:", "foreach: ", "do:\n"),
    ]
)
EDITS = st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), PIECES), min_size=1, max_size=3)


@quickly(60)
@given(EDITS)
def test_a_dvc_yaml_with_slips(lab: Lab, edits: list[tuple[int, int, str]]) -> None:
    text = VALID
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    lab.check(Case("fuzz", {"dvc.yaml": text}, "", fine=None, remembered=False))
