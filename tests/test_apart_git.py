"""Git answers where no disk is shared, and nothing of the user's repository is needed for it there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dvc_ray.node.bundles import pack, unpack
from dvc_ray.repo.git import objects, state_copy
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.run import Experiment, RunRequest
from dvc_ray.workspace import git_copy
from tests.helpers import stock
from tests.helpers.asking_git import FILTERS, HISTORY, QUESTIONS, asked, partial, same_answers
from tests.helpers.projects import Cloud, Make, twin
from tests.helpers.results import report
from tests.helpers.runs import Apart

OLD = {
    "diff --stat HEAD~1",
    "show HEAD:d/c",
    "show --stat",
    "blame -s a",
    "archive HEAD",
    "fsck",
}
"""Asks for what is not sent: contents of files that are as they were, and what they once were."""
ANSWERED = tuple(question for question in QUESTIONS if question not in OLD)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    root.mkdir()
    stock.sh(root, HISTORY)
    return root


def templates(tmp_path: Path, tree: Path, *repositories: str) -> GitTemplates:
    """What a node gets, in a folder of its own."""
    place, node = tmp_path / "sent", tmp_path / "node"
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(node, ignore_errors=True)
    found = state_copy.prepare(str(tree), repositories, str(place), None, lambda path: path == "written")
    unpack(pack(str(place), os.listdir(place) if place.exists() else ()), str(node))
    shutil.rmtree(place, ignore_errors=True)
    return GitTemplates(
        tuple((path, str(node / os.path.basename(folder)) if folder else "") for path, folder in found.places)
    )


def elsewhere(tmp_path: Path, tree: Path, *repositories: str) -> Path:
    """A workspace on a node: files by value, with their time but for links."""
    made = templates(tmp_path, tree, *repositories)
    root = tmp_path / f"workspace{len(list(tmp_path.iterdir()))}"
    kept = [name for name in os.listdir(tree) if name not in {".git", ".venv"}]
    unpack(pack(str(tree), kept), str(root))
    git_copy.place(made, str(root), ())
    return root


def test_git_answers_on_another_machine(home: Path, tmp_path: Path) -> None:
    root = elsewhere(tmp_path, home)
    answers = [asked(home, question) for question in ANSWERED]
    shutil.move(home, tmp_path / "gone")
    assert [asked(root, question) for question in ANSWERED] == answers
    text = b"".join(path.read_bytes() for path in (tmp_path / "node").rglob("*") if path.is_file())
    assert b"secret" not in text


CHANGES = {
    "edited": "echo more >> a; rm b; echo 4 > new; git add new",
    "staged": "mkdir e; git mv b e/b; echo x >> e/b; git add e; echo y >> e/b; git rm -q d/c",
    "links": "ln -s a link; git add link; git commit -qm link; ln -s b other; chmod +x b",
    "touched": "touch -d '2001-01-01' a b",
    "same size": "echo 9 > a",
    "in conflict": "git checkout -q -b c HEAD~1; echo 7 > d/c; git commit -qam c; git merge main || true",
    "detached": "git checkout -q --detach v1.1; git pack-refs --all --prune",
    "packed": "git gc -q; git update-index --index-version 4",
    "ahead and aside": "git checkout -q -b aside HEAD~1; echo 5 > z; git add z; git commit -qm z; git checkout -q main",
    "grown": "for i in 1 2 3 4 5 6; do git commit -q --allow-empty -m $i; done; git merge -q --no-ff -m m other",
    "a tag of a tag": "git tag -a -m x v2.0 v1.1; git tag -a -m x tree HEAD^{tree}",
    "skipped": "git update-index --skip-worktree b; rm b; git update-index --assume-unchanged a; echo 8888 > a",
    "filtered": "git config filter.f.clean 'tr b c'; echo 'b filter=f' > .gitattributes; git add -A; git commit -qm f",
    "without an index": "rm .git/index",
    "a folder is a link now": "mv d e; ln -s e d",
}


ALL_REFS = {
    "log --oneline --decorate --all --graph",
    "branch --all --verbose --verbose",
    "for-each-ref",
    "show-ref --dereference",
    "tag --list --format='%(refname) %(objecttype) %(*objectname)'",
}
NOT_ASKED = {
    "ahead and aside": ALL_REFS,  # what is not in HEAD's history is not sent
    "detached": ALL_REFS,
    "a tag of a tag": ALL_REFS,
    "in conflict": {*ALL_REFS, "status"},  # and an operation that is under way is seen by nobody
    "touched": {"diff-index --quiet HEAD"},  # in the user's tree `git status` writes down that they are the same
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_are_seen_on_another_machine(home: Path, tmp_path: Path, kind: str) -> None:
    stock.sh(home, CHANGES[kind])
    left_out = NOT_ASKED.get(kind, set())
    same_answers(home, elsewhere(tmp_path, home), tuple(one for one in ANSWERED if one not in left_out))


@pytest.mark.parametrize("kind", ["a linked work tree", "a shallow clone", "a clone that borrows"])
def test_where_the_objects_are_does_not_matter(home: Path, tmp_path: Path, kind: str) -> None:
    made = {
        "a linked work tree": "git worktree add -q ../other -b new",
        "a shallow clone": "git clone -q --depth 2 file://$PWD ../other",
        "a clone that borrows": "git clone -q --shared . ../other",
    }
    stock.sh(home, made[kind])
    questions = tuple(one for one in ANSWERED if one != "branch --all --verbose --verbose")  # names other work trees
    same_answers(tmp_path / "other", elsewhere(tmp_path, tmp_path / "other"), questions)


@pytest.mark.parametrize("kind", FILTERS)
def test_a_partial_clone_asks_nobody(home: Path, tmp_path: Path, kind: str) -> None:
    """Contents that the head does not have either are not there, and the rest needs no server."""
    root = partial(home, tmp_path, kind)
    stock.sh(root, "git show -s --format=%T HEAD~1 HEAD~2 > /dev/null; echo more >> a; echo > new")
    questions = ("rev-parse HEAD", "describe --dirty", "status", "log --oneline", "rev-list --count HEAD", "diff")
    answers = [asked(root, question) for question in questions]
    here = elsewhere(tmp_path, root)
    shutil.move(home, tmp_path / "gone")
    assert [asked(here, question) for question in questions] == answers
    code, _, error = asked(here, "log -p")
    assert code
    assert "unable to read" in error
    assert "gone" not in error


def test_repositories_within(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, home / "inner", symlinks=True)
    stock.sh(home / "inner", "git checkout -q other")
    root = elsewhere(tmp_path, home, "inner")
    for question in ("rev-parse HEAD", "status --porcelain", "branch --show-current"):
        assert asked(root / "inner", question) == asked(home / "inner", question)
        assert asked(root, question) == asked(home, question)


def test_of_a_long_history_the_end_is_there(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "COMMITS", 2)
    root = elsewhere(tmp_path, home)
    for question in ("rev-parse HEAD", "describe", "status", "branch --show-current", "log -2"):
        assert asked(root, question) == asked(home, question)
    assert asked(root, "rev-list --count HEAD") == (0, "2\n", "")
    assert asked(root, "rev-parse --is-shallow-repository") == (0, "true\n", "")


@pytest.mark.parametrize(
    "made", ["git init -q .", "git init -q --object-format=sha256 . && git commit -qm x --allow-empty"]
)
def test_what_cannot_be_sent_is_no_repository(tmp_path: Path, made: str) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    stock.sh(root, made)
    assert templates(tmp_path, root) == GitTemplates((("", ""),))
    code, _, error = asked(elsewhere(tmp_path, root), "status")
    assert code
    assert "a-stage-workspace-has-no-git" in error


def test_what_has_not_changed_is_not_sent_again(home: Path, tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "other"):
        state_copy.prepare(str(home), (), str(tmp_path / name), None, lambda _path: False)
        ids.add(pack(str(tmp_path / name), ["0"]).id)
    assert len(ids) == 1


def test_it_is_small(home: Path, tmp_path: Path) -> None:
    stock.sh(
        home, "head -c 3000000 /dev/urandom > large; git add large; git commit -qm large; touch -d tomorrow .git/index"
    )
    made = templates(tmp_path, home)
    size = sum(path.stat().st_size for path in Path(made.places[0][1]).rglob("*") if path.is_file())
    assert size < 20_000


ASKS = (
    "git rev-parse HEAD; git branch --show-current; git describe --tags --dirty --long; git status --porcelain;"
    " git log --oneline; git rev-list --count HEAD; git diff; git -C . diff --stat; git ls-files"
)
WRITE = """
from dulwich.repo import Repo
repo = Repo(".")
repo.refs[b"refs/tags/a"] = repo.head()
"""
PIPELINE = f"""
stages:
  one: {{cmd: "({ASKS}) > one.txt", deps: [in.txt], outs: [one.txt]}}
  two: {{cmd: "({ASKS}; echo 1) > two.txt", deps: [one.txt], metrics: [{{two.txt: {{cache: false}}}}]}}
"""


def repository(project: Make, cloud: Cloud, text: str = PIPELINE) -> Path:
    root = project(
        {"dvc.yaml": text, "in.txt": "one\n", "code.py": "1\n", "sub/f": "", ".gitignore": "*.log\n", "write.py": WRITE}
    )
    cloud(root, "ours")
    stock.sh(root, "ln -s code.py link && git add -A && git commit -qm all && git tag v1 && git tag -am x v2")
    return root


def test_a_stage_asks_git(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = repository(project, cloud)
    assert stock.dvc(root, "repro") == 0
    stock.sh(root, "git add -A && git commit -qm results")
    stock.sh(
        root, "echo two > in.txt && git commit -qam edit && echo edit >> code.py && echo new > sub/new && echo > a.log"
    )
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert not apart(root, RunRequest(pull=True)).failed
    for path in ("one.txt", "two.txt", "dvc.lock"):
        assert (root / path).read_text() == (other / path).read_text()
    assert "v2-2-g" in (root / "two.txt").read_text()
    trees = [path for path in (apart.node / "trees").iterdir() if path.is_dir()]
    assert len(trees) == 2, "a snapshot and one copy of Git's state for both stages"


@pytest.mark.parametrize("temp", [False, True])
def test_git_answers_in_an_experiment(project: Make, apart: Apart, cloud: Cloud, *, temp: bool) -> None:
    """Stock DVC's outs are compared, of the experiment: each project has a remote of its own."""
    asks = "git rev-parse HEAD; git status --porcelain; git describe --tags; git log --oneline; git diff --stat"
    cmd = f"cmd: '({asks}) > out.txt 2>&1', params: [p]"
    root = project(
        {"dvc.yaml": f"stages: {{a: {{{cmd}, metrics: [out.txt: {{cache: false}}]}}}}", "params.yaml": "p: 1"}
    )
    cloud(root, "ours")
    stock.sh(root, "git add -A && git commit -qm all && git tag v1")
    other = twin(root)
    flags = ["--temp"] if temp else []
    for command in (["exp", "run", "-S", "p=2", "-n", "one", *flags], ["exp", "apply", "one"]):
        assert stock.dvc(other, *command) == 0
    result, _ = apart.exp_run(root, Experiment(params=("p=2",), name="one", temp=temp))
    assert not result.failed
    assert stock.dvc(root, "exp", "apply", "one") == 0
    assert (root / "out.txt").read_text() == (other / "out.txt").read_text()


def test_what_dvclive_adds_is_in_the_experiment(project: Make, apart: Apart, cloud: Cloud) -> None:
    script = "from dvclive import Live\nwith Live() as live:\n    live.log_metric('loss', 1)\n    live.next_step()\n"
    text = "stages: {a: {cmd: python live.py, deps: [live.py], params: [p]}}"
    root = project({"dvc.yaml": text, "params.yaml": "p: 1", "live.py": script})
    cloud(root, "live")
    stock.sh(root, "git add -A && git commit -qm all")
    other = twin(root)
    assert stock.dvc(other, "exp", "run", "-S", "p=2", "-n", "one") == 0
    result, _ = apart.exp_run(root, Experiment(params=("p=2",), name="one"))
    assert not result.failed
    asked = "git ls-tree -r $(git for-each-ref 'refs/exps/*/*/one' --format='%(objectname)')"
    trees = [stock.sh(each, asked) for each in (root, other)]
    assert trees[0] == trees[1]
    assert "dvclive/plots/metrics/loss.tsv" in trees[0]


WRITES = {
    "a commit": "git commit -qam mine --allow-empty",
    "a tag": "git tag mine",
    "by a library": "python write.py",
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_command_that_writes_to_git_is_refused(project: Make, apart: Apart, cloud: Cloud, kind: str) -> None:
    root = repository(project, cloud, f"stages: {{one: {{cmd: {WRITES[kind]} && echo > out, deps: [in.txt]}}}}")
    before = stock.sh(root, "git for-each-ref && git log && git ls-files -s")
    error = report(apart(root), "one").error
    assert "Its command writes to Git" in error
    assert stock.sh(root, "git for-each-ref && git log && git ls-files -s") == before


def test_a_bare_workspace_has_no_git(project: Make, apart: Apart, cloud: Cloud) -> None:
    meta = "meta: {ray: {bare_workspace: true}}"
    text = f"stages: {{one: {{cmd: git rev-parse HEAD > out, deps: [in.txt], outs: [out], {meta}}}}}"
    error = report(apart(repository(project, cloud, text)), "one").error
    assert "a stage's workspace has none" in error


def test_what_is_not_sent_is_named(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = repository(project, cloud, "stages: {one: {cmd: git show HEAD:code.py > out, deps: [in.txt], outs: [out]}}")
    error = report(apart(root), "one").error
    assert "what is not sent to other machines" in error
    assert "dvc repro --single-item one" in error
