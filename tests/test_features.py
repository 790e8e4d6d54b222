"""Features of DVC that a sample project cannot show: refusals, other kinds of projects, and what Git would know."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from dvc_ray import api
from dvc_ray.errors import MissingDependencyError, UnsupportedError
from dvc_ray.repo.run import python_path
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.comparing import assert_same_files
from tests.helpers.projects import Make, one, twin
from tests.helpers.results import report, states
from tests.helpers.runs import Here, Locally

BOTH: Mapping[str, str] = {
    "dvc.yaml": """
stages:
  a:
    cmd: mkdir -p da; echo ${v} > da/1; cat code/lib.txt > a.txt; ls -R code > ls.txt
    deps: [code]
    params: [v]
    outs: [da, a.txt, {ls.txt: {cache: false}}]
  b: {cmd: cat da/1 a.txt > b.txt, deps: [da/1, a.txt], outs: [b.txt]}
""",
    "params.yaml": "v: 1\n",
    "code/lib.txt": "lib\n",
    "code/skip.me": "skipped\n",
    ".dvcignore": "skip.me\n",
}


def make_files(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def through_a_life(root: Path, locally: Locally) -> None:
    """First run, no change, changed param, ignored change, lost out: the same as stock after each."""
    other = twin(root)
    changes: list[tuple[str, str, list[str]]] = [
        ("", "", []),
        ("", "", []),
        ("params.yaml", "v: 2\n", []),
        ("code/skip.me", "other\n", []),
        ("a.txt", "edited\n", []),
        ("", "", ["--force"]),
    ]
    for path, text, flags in changes:
        for side in (other, root) if path else ():
            (side / path).unlink()
            (side / path).write_text(text)
        assert stock.dvc(other, "repro", *flags) == 0
        assert not locally(root, RunRequest(force=bool(flags))).failed
        assert_same_files(other, root)


def test_a_project_without_git(tmp_path: Path, locally: Locally) -> None:
    root = tmp_path / "project"
    make_files(root, BOTH)
    assert stock.dvc(root, "init", "--no-scm") == 0
    through_a_life(root, locally)


def test_a_project_in_a_sub_directory_of_a_git_repository(tmp_path: Path, locally: Locally) -> None:
    repository = tmp_path / "repository"
    make_files(repository, {"project/" + path: text for path, text in BOTH.items()} | {"beside.txt": "x"})
    stock.sh(repository, "git init -q")
    assert stock.dvc(repository / "project", "init", "--subdir") == 0
    stock.sh(repository, "git add -A && git commit -qm start && cp -a . ../again")
    root = repository / "project"
    other = tmp_path / "again" / "project"
    for text in ("v: 1\n", "v: 2\n"):
        for side in (root, other):
            (side / "params.yaml").write_text(text)
        assert stock.dvc(other, "repro") == 0
        assert not locally(root).failed
        assert_same_files(other, root)
    status = "git status --porcelain --untracked-files=all"
    assert stock.sh(other, status) == stock.sh(root, status)


@pytest.mark.parametrize(
    ("dep", "error", "says"),
    [
        ("https://example.com/in.txt", UnsupportedError, "its dep 'https://example.com/in.txt' is not a path of this"),
        ("remote://store/in.txt", UnsupportedError, "its dep 'remote://store/in.txt' is not a path of this machine"),
        ("ds://numbers", UnsupportedError, "its dep 'ds://numbers' is not a path of this machine"),
        ("gs://bucket/in.txt", MissingDependencyError, "requires 'dvc-gs' to be installed"),
    ],
)
def test_what_is_not_on_this_machine_is_refused_before_anything_runs(
    project: Make, locally: Locally, dep: str, error: type[Exception], says: str
) -> None:
    text = one("echo > out.txt").replace("in.txt", dep) + "  other: {cmd: echo > o.txt, outs: [o.txt]}\n"
    root = project({"dvc.yaml": text + "datasets: [{name: numbers, type: url, url: 's3://x/y'}]\n"})
    stock.sh(root, "dvc remote add -q store /nowhere")
    with pytest.raises(error, match=says):
        locally(root)
    assert not (root / "o.txt").exists()


def test_absolute_paths_outside_are_used_where_they_are(project: Make, locally: Locally, tmp_path: Path) -> None:
    out = tmp_path / "outside.txt"
    make_files(tmp_path, {"ext/file": "1\n", "ext/folder/file": "2\n"})
    text = f"""
stages:
  one:
    cmd: cat {tmp_path}/ext/file {tmp_path}/ext/folder/file > {out}; echo > out.txt
    deps: [{tmp_path}/ext/file, {tmp_path}/ext/folder]
    outs: [out.txt, {{{out}: {{cache: false}}}}]
"""
    root = project({"dvc.yaml": text})
    other = twin(root)
    for content in ("1\n", "one\n"):
        (tmp_path / "ext/file").write_text(content)
        for run in (lambda: stock.dvc(other, "repro") == 0, lambda: not locally(root).failed):
            out.unlink(missing_ok=True)
            assert run()
            assert out.read_text() == f"{content}2\n"
        assert_same_files(other, root)


def test_absolute_paths_into_the_project_lead_to_the_workspace(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": "", "in.txt": "in\n"})
    text = one("cat in.txt > out.txt").replace("in.txt]", f"{root}/in.txt]").replace("outs: [", f"outs: [{root}/")
    (root / "dvc.yaml").write_text(text)
    assert not locally(root).failed
    lock = (root / "dvc.lock").read_bytes()
    for part in ("dvc.lock", "out.txt", ".gitignore"):
        (root / part).unlink()
    assert stock.dvc(root, "repro", "--no-run-cache") == 0
    assert (root / "dvc.lock").read_bytes() == lock
    assert states(locally(root)) == {"one": StageState.UNCHANGED}


def test_links_that_the_file_system_cannot_make(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt"), "in.txt": ""})
    stock.sh(root, "dvc config cache.type reflink")
    other = twin(root)
    code = stock.dvc(other, "repro")
    result = locally(root)
    if code:  # as on most file systems
        assert f"No possible cache link types for '{root}/out.txt'" in report(result, "one").error
    assert bool(result.failed) == bool(code)
    assert_same_files(other, root)


DATA = {".gitignore": "/data.txt\n/folder\n", "data.txt": "data\n", "folder/1": "1\n"}


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
@pytest.mark.parametrize(("path", "dep"), [("data.txt", "data.txt"), ("folder/1", "folder")])
def test_a_command_that_damages_the_cache_fails(
    project: Make, locally: Locally, kind: str, path: str, dep: str
) -> None:
    root = project({"dvc.yaml": one(f"echo > out.txt; chmod u+w {path} && echo more >> {path}").replace("in.txt", dep)})
    make_files(root, {"data.txt": "data\n", "folder/1": "1\n"})
    stock.sh(root, f"dvc config cache.type {kind}; dvc add -q {dep}")
    result = report(locally(root), "one")
    assert result.state is StageState.FAILED
    assert f"wrote to '{path}', a dep that is a link to an object of DVC's cache" in result.error
    assert (root / path).read_text() == DATA[path] + "more\n", "as a command run in the user's workspace leaves it"
    assert not (root / path).is_symlink()
    stock.sh(root, f"rm -r {dep}")
    stock.dvc(root, "checkout", dep)
    assert not (root / path).exists(), "the cache must not give the damaged object out"


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_a_cached_object_that_was_only_touched_is_good(project: Make, locally: Locally, kind: str) -> None:
    root = project({"dvc.yaml": one("echo > out.txt; touch data.txt").replace("in.txt", "data.txt")})
    (root / "data.txt").write_text("data\n")
    stock.sh(root, f"dvc config cache.type {kind}; dvc add -q data.txt")
    assert not locally(root).failed
    assert (root / "data.txt").is_symlink() is (kind == "symlink")
    assert stock.status(root) == {}


def test_a_refused_result_is_not_tried_again(project: Make, locally: Locally) -> None:
    """A second attempt would find the damaged file and nothing in the cache to compare it with."""
    text = one("chmod +w data.txt; echo bad >> data.txt; echo > out.txt", "{retries: 2}").replace("in.txt", "data.txt")
    root = project({"dvc.yaml": text})
    (root / "data.txt").write_text("data\n")
    stock.sh(root, "dvc config cache.type hardlink; dvc add -q data.txt")
    assert "wrote to 'data.txt'" in report(locally(root), "one").error


def test_a_repository_inside_a_persisted_out_is_kept(project: Make, locally: Locally) -> None:
    text = "stages: {one: {cmd: mkdir -p store; date +%N >> store/log, params: [v], outs: [store: {persist: true}]}}"
    root = project({"dvc.yaml": text, "params.yaml": "v: 1\n"})
    for value in ("1", "2"):
        (root / "params.yaml").write_text(f"v: {value}\n")
        assert not locally(root).failed
        if value == "1":
            stock.sh(root, "mkdir store/repo && cd store/repo && git init -q && git commit -q --allow-empty -m mine")
    assert "mine" in stock.sh(root / "store/repo", "git log")


def test_half_of_a_workspace_does_not_come_home(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "stages: {one: {cmd: touch store/new, params: [v], outs: [store: {persist: true}]}}"
    root = project({"dvc.yaml": text, "params.yaml": "v: 1\n"})
    (root / "store").mkdir()
    names = {str(number) for number in range(4)}
    for name in names:
        (root / "store" / name).write_text(name)
    module = sys.modules["dvc_ray.workspace.materialise"]
    copy, copied = vars(module)["_copy"], 0

    def full(source: str, target: str, found: os.stat_result) -> None:
        nonlocal copied
        copied += "/store/" in target
        if copied == 3:
            raise OSError(28, "No space left on device")
        copy(source, target, found)

    monkeypatch.setattr(module, "_copy", full)
    assert "No space left on device" in report(locally(root), "one").error
    assert set(os.listdir(root / "store")) == names


SINGLE = """
stages:
  a: {cmd: "test ${fail} = 0 && cp in.txt a.txt", deps: [in.txt], params: [fail], outs: [a.txt]}
  b: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
"""


@pytest.mark.parametrize("targets", [("a", "b"), ("b", "a"), ()])
@pytest.mark.parametrize("fail", ["0", "1"])
def test_single_items_run_one_after_the_other(
    project: Make, locally: Locally, targets: tuple[str, ...], fail: str
) -> None:
    root = project({"dvc.yaml": SINGLE, "in.txt": "1\n", "params.yaml": "fail: 0\n"})
    assert not locally(root).failed
    (root / "in.txt").write_text("2\n")
    (root / "params.yaml").write_text(f"fail: {fail}\n")
    other = twin(root)
    code = stock.dvc(other, "repro", "--single-item", "--force", "--keep-going", *targets)
    result = locally(
        root,
        RunRequest(targets=targets, single_item=True, force=True, on_error=OnError.KEEP_GOING, jobs=4),
    )
    assert bool(code) == bool(result.failed)
    if fail == "1" and targets != ("b", "a"):  # a missing dep is said before outs are removed
        assert "dependency 'a.txt' does not exist" in report(result, "b").error
        (root / "b.txt").unlink()
    assert_same_files(other, root)


ODD_GRAPHS = {
    "a consumer first": """
stages:
  b: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
  a: {cmd: cp in.txt a.txt, deps: [in.txt], outs: [a.txt]}
""",
    "an out of two stages": """
stages:
  a: {cmd: cp in.txt a.txt, deps: [in.txt], outs: [a.txt]}
  b: {cmd: cat in.txt in.txt > a.txt, deps: [in.txt], outs: [a.txt]}
""",
    "a cycle": """
stages:
  a: {cmd: cat in.txt b.txt > a.txt, deps: [in.txt, b.txt], outs: [a.txt: {persist: true}]}
  b: {cmd: cat a.txt a.txt > b.txt, deps: [a.txt], outs: [b.txt: {persist: true}]}
""",
}


@pytest.mark.parametrize("text", ODD_GRAPHS.values(), ids=ODD_GRAPHS)
@pytest.mark.parametrize("targets", [("a",), ()])
def test_single_items_need_no_graph(project: Make, locally: Locally, text: str, targets: tuple[str, ...]) -> None:
    root = project({"dvc.yaml": text, "in.txt": "1\n", "a.txt": "old\n", "b.txt": "old\n"})
    stock.sh(root, "git rm -q --cached a.txt b.txt; git commit -qm untracked")
    other = twin(root)
    for content, flags in (("2\n", ()), ("3\n", ("--allow-missing",)), ("3\n", ("--force",))):
        request = RunRequest(
            targets=targets, single_item=True, force="--force" in flags, allow_missing="--allow-missing" in flags
        )
        for each in (root, other):
            (each / "in.txt").write_text(content)
        code = stock.dvc(other, "repro", "-s", *flags, *targets)
        result = locally(root, request)
        assert bool(code) == bool(result.failed)
        assert_same_files(other, root)


def test_single_items_of_a_folder_without_stages(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": SINGLE, "in.txt": "1\n", "params.yaml": "fail: 0\n", "sub/a": ""})
    done = here(root / "sub", "repro", "-s")
    assert done.returncode == stock.dvc(root / "sub", "repro", "-s") == 255
    assert "sub/dvc.yaml' does not exist" in done.stderr


def test_an_out_that_links_to_a_folder(project: Make, locally: Locally) -> None:
    text = "stages: {one: {cmd: ln -s folder link, params: [v], outs: [link: {cache: false}]}}"
    root = project({"dvc.yaml": text, "params.yaml": "v: 1\n", "folder/a": "a"})
    for value in ("1", "2"):
        (root / "params.yaml").write_text(f"v: {value}\n")
        assert not locally(root).failed
        assert os.readlink(root / "link") == "folder"
    assert os.listdir(root / "folder") == ["a"]


def test_what_comes_before_a_failed_stage_has_run(project: Make, locally: Locally) -> None:
    text = """
stages:
  before: {cmd: cp in.txt before.txt, deps: [in.txt], outs: [before.txt]}
  frozen: {cmd: cp in.txt frozen.txt, deps: [in.txt], outs: [frozen.txt], frozen: true}
  after: {cmd: cp in.txt after.txt, deps: [in.txt], outs: [after.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": ""})
    other = twin(root)
    assert stock.dvc(other, "repro") == 255
    result = locally(root)
    assert states(result)["frozen"] is StageState.FAILED
    assert states(result)["after"] is StageState.BLOCKED
    assert_same_files(other, root)


def test_a_dep_changed_by_its_own_stage(project: Make, locally: Locally) -> None:
    """The rest of it is compared with stock by the project `in_place`."""
    text = one("echo more >> in.txt; echo > code/new; echo > out.txt").replace("in.txt]", "in.txt, code]")
    root = project({"dvc.yaml": text, "in.txt": "in\n", "code/a": ""})
    locally(root)
    assert "stage 'one' wrote to its own dep: 'in.txt', 'code/new'" in locally.warnings
    root.joinpath("dvc.yaml").write_text(one("python -c 'import sys; sys.path[:0] = [\"code\"]; import m' > out.txt"))
    (root / "code/m.py").write_text("")
    locally(root)
    assert not locally.warnings, "what Python caches beside code is nobody's input"


def test_what_depends_on_a_file_that_is_not_there_yet(project: Make, locally: Locally) -> None:
    """A dep that leads nowhere cannot be judged before the stage that makes it has run."""
    text = """
stages:
  target: {cmd: echo 1 > target.txt, outs: [target.txt]}
  link: {cmd: ln -s target.txt link.txt, deps: [target.txt], outs: [link.txt: {cache: false}]}
  reads: {cmd: cat link.txt > reads.txt, deps: [link.txt], outs: [reads.txt]}
"""
    root = project({"dvc.yaml": text})
    other = twin(root)
    for step in ("true", "rm target.txt"):
        for side in (other, root):
            stock.sh(side, step)
        assert stock.dvc(other, "repro") == 0
        assert not locally(root).failed
        assert_same_files(other, root)


def test_a_plan_says_what_cannot_be_judged(project: Make, locally: Locally) -> None:
    """With a stage before it that may make it right; and what a run would say where there is none."""
    text = """
stages:
  target: {cmd: echo 1 > target.txt, deps: [in.txt], outs: [target.txt]}
  link: {cmd: ln -s target.txt link.txt, deps: [target.txt], outs: [link.txt: {cache: false}]}
  reads: {cmd: cat link.txt > reads.txt, deps: [link.txt], outs: [reads.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": ""})
    assert not locally(root).failed
    (root / "target.txt").unlink()
    with stock.in_directory(root):
        reads = api.make_plan().steps[-1]
        alone = api.make_plan(RunRequest(targets=("reads",), single_item=True)).steps[-1]
    assert reads.reasons[0].startswith("cannot be judged yet: ")
    assert alone.reasons == ("will fail: stage 'reads': 'link.txt' is a link that leads to nothing: target.txt",)


def test_an_out_that_another_stage_deletes(project: Make, locally: Locally) -> None:
    text = """
stages:
  make: {cmd: echo 1 > made.txt, deps: [in.txt], outs: [made.txt]}
  remover: {cmd: rm made.txt; echo > r.txt, deps: [made.txt, in.txt], outs: [r.txt]}
  after: {cmd: cat made.txt > after.txt, deps: [made.txt, r.txt], outs: [after.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": ""})
    other = twin(root)
    assert stock.dvc(other, "repro") == 255
    result = locally(root)
    assert "'made.txt' does not exist" in report(result, "remover").error
    assert states(result)["after"] is StageState.BLOCKED
    assert_same_files(other, root)


ASKS = """
git rev-parse HEAD && git rev-parse --show-prefix && git branch --show-current && git describe --tags --dirty --always
git log --oneline -3 && git status --porcelain && git diff --stat && git show HEAD:in.txt && git remote get-url origin
git rev-list --count HEAD && git check-ignore .venv my.log && git -C sub rev-parse --show-prefix
python -c 'import dvc.api as d; print(d.read("in.txt", rev="v1"))' && dvc params diff
"""


def test_a_command_that_asks_git(project: Make, locally: Locally) -> None:
    files = {"in.txt": "one\n", "params.yaml": "a: 1\n", "sub/f": "", ".gitignore": ".venv/\n*.log\n"}
    root = project({"dvc.yaml": one(" && ".join(f"({line}) >> out.txt" for line in ASKS.split("\n") if line)), **files})
    stock.sh(
        root, "git tag v1 && git remote add origin https://example.com/x.git && echo more >> in.txt && touch new my.log"
    )
    stock.sh(root, "mkdir .venv && touch .venv/f && git commit -qam second && echo edit >> sub/f && git branch other")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert not locally(root).failed
    assert_same_files(other, root)
    assert "v1-1-g" in (root / "out.txt").read_text()


WRITES = {
    "a commit": "echo x >> in.txt && git commit -qam mine",
    "the index": "git add in.txt",
    "a tag": "git tag mine",
    "a branch": "git checkout -q -b mine",
    "by a library": "python tag.py",
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_command_that_writes_to_git_is_refused(project: Make, locally: Locally, kind: str) -> None:
    script = 'import pygit2; r = pygit2.Repository("."); r.create_reference("refs/tags/a", r.head.target)'
    root = project({"dvc.yaml": one(f"{WRITES[kind]} && echo > out.txt"), "in.txt": "", "tag.py": script})
    before = stock.sh(root, "git for-each-ref && git log && git ls-files -s && git branch --show-current")
    error = report(locally(root), "one").error
    assert "Its command writes to Git" in error
    assert "dvc repro --single-item one" in error
    assert stock.sh(root, "git for-each-ref && git log && git ls-files -s && git branch --show-current") == before


@pytest.mark.parametrize("cmd", ["git rev-parse HEAD", "dvc params diff"])
def test_a_bare_workspace_has_no_git(project: Make, locally: Locally, cmd: str) -> None:
    text = one(f"{cmd} > out.txt", "{bare_workspace: true}")
    root = project({"dvc.yaml": text, "in.txt": "", "params.yaml": "a: 1\n"})
    error = report(locally(root), "one").error
    assert "Its output speaks of a Git repository: a stage's workspace has none" in error


def test_a_command_that_asks_dvc(project: Make, locally: Locally, tmp_path: Path) -> None:
    script = "import dvc.api as d; print(d.params_show(), d.read('data.txt'), d.get_url('data.txt')[-30:])"
    text = one("python ask.py > out.txt").replace("in.txt", "data.txt")
    root = project({"dvc.yaml": text, "ask.py": script, "params.yaml": "a: 1\n"})
    (root / "data.txt").write_text("data\n")
    assert stock.dvc(root, "add", "data.txt") == 0
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert not locally(root).failed
    assert_same_files(other, root)


def test_modules_may_be_imported_while_editable_ones_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is, in another thread. Garbage collection is where threads change in the middle of a list."""

    def late(_phase: str, _info: object) -> None:
        sys.modules[f"late{len(sys.modules)}"] = ModuleType("late")

    monkeypatch.setattr(sys, "modules", {**sys.modules, **{f"many{n}": ModuleType("many") for n in range(5000)}})
    before = gc.get_threshold()
    gc.callbacks.append(late)
    gc.set_threshold(1)
    try:
        assert isinstance(list(python_path._finders()), list)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(late)


PACKAGE = {
    "src/pack/__init__.py": "from pathlib import Path\nROOT = Path(__file__).parents[2]\n",
    "dvc.yaml": one("python -c \"import pack; (pack.ROOT / 'out.txt').write_text(pack.__file__[-20:])\""),
    "in.txt": "",
}


@pytest.mark.parametrize("form", ["path", "finder", "variable"])
def test_the_project_installed_editable(
    project: Make, locally: Locally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """What is found by ``__file__`` lies in the workspace, as it lies in the user's tree under dvc repro."""
    root = project(PACKAGE)
    other = twin(root)
    if form == "variable":
        given = os.environ.get("PYTHONPATH")
        for side, run in ((other, lambda: stock.dvc(other, "repro")), (root, lambda: len(locally(root).failed))):
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (f"{side}/src", given))))
            assert run() == 0
        assert_same_files(other, root)
        return
    site = tmp_path / "site"
    site.mkdir()
    if form == "path":
        (site / "__editable__.pack.pth").write_text(f"import os\n{root}/src\n")
        monkeypatch.setattr("site.getsitepackages", lambda: [str(site)])
    else:
        finder = type(sys)("__editable___pack_0_1_finder")
        vars(finder)["MAPPING"] = {"pack": f"{root}/src/pack"}
        monkeypatch.setitem(sys.modules, finder.__name__, finder)
    assert not locally(root).failed
    assert (root / "out.txt").read_text() == "src/pack/__init__.py"


def test_an_out_written_by_an_absolute_path(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": "", "in.txt": ""})
    (root / "dvc.yaml").write_text(one(f"echo > {root}/out.txt"))
    error = report(locally(root), "one").error
    assert "output 'out.txt' does not exist in the stage's own workspace, but 'out.txt' was written to your" in error


@pytest.mark.full
def test_a_directory_of_ten_thousand_files(project: Make, locally: Locally) -> None:
    make = "import pathlib\nfor n in range(10000):\n p = pathlib.Path(f'many/{n % 100}/{n}')\n"
    make += " p.parent.mkdir(parents=True, exist_ok=True)\n p.write_text(str(n))\n"
    text = """
stages:
  many: {cmd: python make.py, deps: [make.py], params: [v], outs: [many]}
  some: {cmd: cat many/7/* > some.txt, deps: [many/7], outs: [some.txt]}
  all: {cmd: find many -type f | wc -l > all.txt, deps: [many], outs: [all.txt]}
"""
    root = project({"dvc.yaml": text, "make.py": make, "params.yaml": "v: 1\n"})
    other = twin(root)
    for value in ("1", "2"):
        for side in (other, root):
            (side / "params.yaml").write_text(f"v: {value}\n")
        assert stock.dvc(other, "repro") == 0
        assert not locally(root).failed
        assert_same_files(other, root)


DVC_2 = """
stages:
  folder:
    cmd: mkdir -p dir && cat crlf.txt data/* > dir/a && echo {} > m.json && echo ${k} > dir/k
    deps: [crlf.txt, data]
    outs: [dir]
    metrics: [m.json: {cache: false}]
  text: {cmd: cat dir/a > text.txt, deps: [dir/a], outs: [text.txt]}
  kept: {cmd: touch kept.txt, deps: [text.txt], outs: [kept.txt: {persist: true}]}
  new: {cmd: cat other.txt > new.txt, deps: [other.txt], outs: [new.txt]}
"""


@pytest.mark.parametrize("change", ["", "sed -i 's/1/2/' params.yaml", "echo >> data/b", "echo >> other.txt"])
def test_hashes_of_dvc_2_keep_their_form_where_nothing_has_changed(
    project: Make, locally: Locally, change: str
) -> None:
    root = project(
        {
            "dvc.yaml": DVC_2,
            "params.yaml": "k: 1\n",
            "crlf.txt": "a\r\nb\r\n",
            "data/b": "b\n",
            "other.txt": "o\r\n",
        }
    )
    assert stock.dvc(root, "repro", "folder", "text", "kept") == 0
    dos2unix = hashlib.md5(b"a\nb\n").hexdigest()  # noqa: S324  as DVC 2 did
    lock = (root / "dvc.lock").read_text().replace(hashlib.md5(b"a\r\nb\r\n").hexdigest(), dos2unix)  # noqa: S324
    (root / "dvc.lock").write_text(lock.replace("      hash: md5\n", ""))
    stock.sh(root, "cp -a .dvc/cache/files/md5/. .dvc/cache/ && git add -A && git commit -qm 2")
    other = twin(root)
    for flags in ([], ["--force"]):
        for each in (root, other):
            stock.sh(each, change if not flags else "")
        assert stock.dvc(other, "repro", *flags) == 0
        assert not locally(root, RunRequest(force=bool(flags))).failed
        assert stock.differences(stock.snapshot(other), stock.snapshot(root)) == []
