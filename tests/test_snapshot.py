"""Which files there are: Git's answer, ours without it, and what is beside the code."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dvc_ray.errors import ProjectError
from dvc_ray.repo.git import ignore_patterns, tree_files
from dvc_ray.repo.inputs import snapshot
from tests.helpers import stock
from tests.helpers.runs import Locally


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    stock.sh(folder, "git init -q")
    assert stock.dvc(folder, "init") == 0
    return folder


def listed(root: Path, *, git: bool = True) -> snapshot.Listing:
    """The listing but for what all projects have."""
    with pytest.MonkeyPatch.context() as patch:
        if not git:
            patch.setenv("PATH", os.devnull)
        with Repo(str(root)) as repo:
            found = snapshot.listing(repo)
            assert snapshot.files(repo) == found.code
    mine = tuple(path for path in found.code if not path.startswith(".dvc"))
    return snapshot.Listing(code=mine, ignored=found.ignored, empty=found.empty, repositories=found.repositories)


def both(root: Path) -> snapshot.Listing:
    """The listing, with git and without."""
    asked, unasked_ = listed(root), listed(root, git=False)
    assert unasked_ == asked
    return asked


def make(root: Path, *paths: str) -> None:
    """Make files, with a line of their own; folders, whose name ends with a slash; a text after ``=``."""
    for given_ in paths:
        path, _, text = given_.partition("=")
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text or f"{path}\n")


def _project(factory: pytest.TempPathFactory) -> Path:
    """The project of one example, always in the same place: an empty one is copied, that costs less than to make it."""
    template = factory.getbasetemp() / "template"
    if not template.exists():
        template.mkdir()
        stock.sh(template, "git init -q")
        assert stock.dvc(template, "init") == 0
    root = factory.getbasetemp() / "example"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)
    return root


def commit(root: Path) -> None:
    stock.sh(root, "git add -A && git commit -qm more")


CASES = {
    "folder ignored by name": ([".gitignore=/.venv/\n", "a", ".venv/lib/x", ".venv/bin/y"], "a", ".venv"),
    "files ignored by patterns": ([".gitignore=*.pyc\n", "p/a.py", "p/__pycache__/a.pyc"], "p/a.py", "p/__pycache__"),
    "a folder that ignores itself": (["a", "e/.gitignore=*\n", "e/x", "e/lib/y"], "a", "e"),
    "beside tracked ones": ([".gitignore=*.log\n", "d/a", "d/x.log", "d/y.log"], "d/a", "d/x.log d/y.log"),
    "negated": ([".gitignore=d/*\n!d/keep\n", "d/keep", "d/x", "d/y/z"], "d/keep", "d/x d/y"),
    "negated in vain": ([".gitignore=d/\n!d/keep\n", "d/keep", "a"], "a", "d"),
    "negated further down": (
        [".gitignore=*.x\n", "d/.gitignore=!b.x\n", "d/a.x", "d/b.x"],
        "d/.gitignore d/b.x",
        "d/a.x",
    ),
    "names": ([".gitignore=/i*\n", "a b", "c\nd", "i j", "i\nk"], "a b|c\nd", "i\nk|i j"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_ignored_is_listed_by_the_folder(root: Path, name: str) -> None:
    paths, code, ignored = CASES[name]
    make(root, *paths)
    found = both(root)
    mark = "|" if "|" in code else None
    assert [path for path in found.code if path != ".gitignore"] == code.split(mark)
    assert list(found.ignored) == ignored.split(mark)


def test_folders_without_files(root: Path) -> None:
    make(root, ".gitignore=build/\n", "a", "build/", "logs/", "r/s/", "r/t/", "d/e/build/", "i/.gitignore=*\n", "i/f/")
    found = both(root)
    assert found.empty == ("logs", "r/s", "r/t")
    assert found.ignored == ("build", "d/e/build", "i")


def test_repositories_within_have_rules_of_their_own(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make(other, "a", ".gitignore=*.o\n")
    stock.sh(other, "git init -q && git add -A && git commit -qm start")
    make(root, ".gitignore=/ignored\n*.log\n", "b")
    stock.sh(root, f"git -c protocol.file.allow=always submodule --quiet add {other} s/sub")
    for place in ("n/own", "n/own/deeper", "ignored"):
        stock.sh(root, f"git clone -q {other} {place}")
    make(root, "s/sub/x.o", "s/sub/x.log", "n/own/x.o", "n/own/build/y.o", "n/own/deeper/x.o", "ignored/x.o")
    stock.sh(root, "git init -q empty; git init -q none/yet")
    make(root, "empty/build/", "n/own/build.o/")
    found = both(root)
    assert found.repositories == ("empty", "n/own", "n/own/deeper", "none/yet", "s/sub")
    own = ("n/own/.gitignore", "n/own/a", "n/own/deeper/.gitignore", "n/own/deeper/a")
    assert found.code == (".gitignore", ".gitmodules", "b", *own, "s/sub/.gitignore", "s/sub/a", "s/sub/x.log")
    assert found.ignored == ("ignored", "n/own/build", "n/own/build.o", "n/own/deeper/x.o", "n/own/x.o", "s/sub/x.o")
    assert found.empty == ("empty/build",)


def test_a_submodule_without_its_repository(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make(other, "a", "b.o", ".gitignore=*.o\n")
    stock.sh(other, "git init -q && git add -A && git commit -qm start")
    for place in ("absent", "broken", "plain"):
        stock.sh(root, f"git -c protocol.file.allow=always submodule --quiet add {other} {place}")
    commit(root)
    stock.sh(root, "git submodule --quiet deinit -f absent; echo gitdir: /nowhere > broken/.git; rm plain/.git")
    make(root, "plain/b.o")
    found = both(root)
    assert found.repositories == ()
    inner = (f"{place}/{name}" for place in ("broken", "plain") for name in (".gitignore", "a"))
    assert found.code == (".gitmodules", "absent", *inner)
    assert found.ignored == ("plain/b.o",)


def test_rules_from_elsewhere(root: Path, tmp_path: Path) -> None:
    make(root, "a.one", "b.two", "c.three", "d.two")
    (root / ".git" / "info" / "exclude").write_text("*.one\n!d.two\n")
    (tmp_path / "rules").write_text("*.two\n")
    stock.sh(root, f"git config core.excludesFile {tmp_path}/rules")
    found = both(root)
    assert found.code == ("c.three", "d.two")
    assert found.ignored == ("a.one", "b.two")


def test_tracked_files_are_code_whatever_ignores_them(root: Path) -> None:
    make(root, "d/a", "d/e/b", "gone/c")
    commit(root)
    (root / "gone" / "c").unlink()
    make(root, ".gitignore=/d\n/gone\n", "d/x", "d/e/y", "d/f/z", "d/g/", "gone/x")
    found = both(root)
    assert found.code == (".gitignore", "d/a", "d/e/b")
    assert found.ignored == ("d/e/y", "d/f", "d/g", "d/x", "gone/x")


def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    make(root, ".gitignore=/i\n/j/\nk\n", "d/a")
    for name in ("i", "j", "l", "d/k"):
        (root / name).symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    found = both(root)
    assert found.code == (".gitignore", "d/a", "j", "l")  # a link is no folder, which alone 'j/' would match
    assert found.ignored == ("d/k", "i", "pipe")


@pytest.mark.parametrize("kind", ["link", "ignored link", "link to nowhere", "link out of it", "file", "link above"])
def test_a_tracked_folder_that_is_another_thing_now(root: Path, tmp_path: Path, kind: str) -> None:
    """What the index has under it is gone, as Git says, wherever the link leads to."""
    make(root, "d/e/a", "d/b", "z")
    commit(root)
    (root / "d").rename(root / "moved")
    if kind == "file":
        make(root, "d")
    elif kind == "link above":
        (root / "d").mkdir()
        make(root, "d/b")
        (root / "d" / "e").symlink_to("../moved/e")
    else:
        targets = {"link to nowhere": "nowhere", "link out of it": str(tmp_path)}
        (root / "d").symlink_to(targets.get(kind, "moved"))
    make(tmp_path, "b", "e/a")
    if kind == "ignored link":
        make(root, ".gitignore=/d\n")
    moved = ("moved/b", "moved/e/a", "z")
    found = both(root)
    expected = {"ignored link": (".gitignore", *moved), "link above": ("d/b", "d/e", *moved)}
    assert found.code == expected.get(kind, ("d", *moved))
    assert found.ignored == (("d",) if kind == "ignored link" else ())


def test_a_tracked_file_that_is_a_folder_now(root: Path) -> None:
    make(root, ".gitignore=*.log\n", "d", "e", "z")
    commit(root)
    for name in ("d", "e"):
        (root / name).unlink()
    make(root, "d/new", "d/x.log", "e/y.log", "d/f/")
    found = both(root)
    assert found.code == (".gitignore", "d/new", "z")
    assert (found.ignored, found.empty) == (("d/x.log", "e"), ("d/f",))


def test_a_stage_where_a_tracked_folder_is_a_link_now(
    project: Callable[[dict[str, str]], Path], locally: Locally
) -> None:
    text = "stages: {a: {cmd: cat d/x > out, deps: [in], outs: [out]}}"
    root = project({"dvc.yaml": text, "in": "", "d/x": "one\n"})
    stock.sh(root, "mv d e && ln -s e d && echo two > e/x")
    assert not locally(root).failed
    assert (root / "out").read_text() == "two\n"
    assert (root / "d").is_symlink()


def test_names_that_are_no_text(root: Path) -> None:
    for name in (b"\xff\xfe", b"d\xff/x.log", b"d\xff/y"):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    (root / ".gitignore").write_bytes(b"/\xff\xfe\n*.log\n")
    found = both(root)
    assert found.code == (".gitignore", os.fsdecode(b"d\xff/y"))
    assert found.ignored == (os.fsdecode(b"d\xff/x.log"), os.fsdecode(b"\xff\xfe"))


@pytest.mark.parametrize("scm", ["git", None])
def test_an_environment_that_nobody_ignored_is_no_code(root: Path, scm: str | None) -> None:
    make(
        root,
        "a",
        "v/pyvenv.cfg",
        "v/lib/x",
        "w/c/conda-meta/history",
        "w/c/bin/x",
        "w/a",
        "ui/node_modules/x/y",
        "ui/b",
    )
    make(root, "own/pyvenv.cfg", "own/lib/x")
    if scm:
        stock.sh(root, "git add own/pyvenv.cfg")
    else:
        assert stock.dvc(root, "destroy", "-f") == 0
        assert stock.dvc(root, "init", "--no-scm") == 0
    found = both(root)
    own = ("own/lib/x", "own/pyvenv.cfg") if scm else ()
    assert [path for path in found.code if path != ".dvcignore"] == ["a", *own, "ui/b", "w/a"]
    assert found.ignored == tuple(sorted(("ui/node_modules", "v", "w/c", *(() if scm else ("own",)))))


def test_an_environment_in_the_root_changes_nothing(root: Path) -> None:
    make(root, "pyvenv.cfg", "lib/x", "a")
    assert both(root).code == ("a", "lib/x", "pyvenv.cfg")


def test_internals_are_in_none(root: Path) -> None:
    make(root, "a", "sub/b", ".dvc/config.local=\n", ".dvc/tmp/x", ".dvc/mine", "sub/i/x", ".gitignore=i\n")
    make(root, "sub/.dvc/cache/x", "sub/.dvc/.gitignore=/cache\n", "sub/.dvc/config")
    found = both(root)
    assert found.code == (".gitignore", "a", "sub/.dvc/.gitignore", "sub/.dvc/config", "sub/b")
    assert found.ignored == ("sub/i",)


def test_without_git_at_all(tmp_path: Path) -> None:
    root = tmp_path / "project"
    make(root, "a", "in/b.skip", "in/c", "skip/x/y", "hollow/", "skip2/", "data/one", "data/two.skip", "kept/x")
    make(root, "dvc.yaml=stages: {s: {cmd: c, outs: [data/one, kept]}}\n")
    assert stock.dvc(root, "init", "--no-scm") == 0
    make(root, ".dvcignore=*.skip\n/skip\n/skip2\n")
    stock.sh(root, "git init -q in/own; touch in/own/x")
    found = both(root)
    assert found.code == ("a", "dvc.yaml", "in/c", "in/own/x")
    assert found.ignored == ("data/two.skip", "in/b.skip", "skip", "skip2")
    assert found.empty == ("hollow",)
    assert found.repositories == ("in/own",)


def test_a_worktree_that_is_linked(root: Path, tmp_path: Path) -> None:
    make(root, "a", ".gitignore=*.o\n")
    commit(root)
    (root / ".git" / "info" / "exclude").write_text("*.excluded\n")
    stock.sh(root, f"git worktree add -q {tmp_path}/linked")
    make(tmp_path / "linked", "b", "c.o", "d.excluded")
    found = both(tmp_path / "linked")
    assert found.code == (".gitignore", "a", "b")
    assert found.ignored == ("c.o", "d.excluded")


def test_a_broken_index_is_told_in_the_words_of_git(root: Path) -> None:
    make(root, "a")
    commit(root)
    (root / ".git" / "index").write_bytes(b"DIRC nothing")
    with Repo(str(root)) as repo, pytest.raises(ProjectError, match="index"):
        snapshot.files(repo)


def test_settings_that_cannot_be_read_are_named(root: Path) -> None:
    """Those of a repository within; of the project's own, DVC reads them first."""
    make(root, "n/a", "n/empty/")
    stock.sh(root / "n", "git init -q; git config core.ignoreCase 2")  # true for Git
    named = rf"settings for '{root}/n' cannot be read: .* in '{root}/n/\.git/config'"
    with Repo(str(root)) as repo, pytest.raises(ProjectError, match=named) as said:
        snapshot.listing(repo)
    assert f"git -C {root}/n config" in said.value.hint


def test_rules_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, ".gitignore=*.log\n", "a")

    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ignore_patterns, "parse", broken)
    with pytest.raises(ProjectError, match=rf"'{root}/\.git/info/exclude'.* cannot be read: .*Input/output error"):
        tree_files.Rules(str(root))


def test_a_folder_has_no_rules(root: Path, tmp_path: Path) -> None:
    """Git's program refuses it."""
    make(root, "a")
    stock.sh(root, f"mkdir ../rules; git config core.excludesFile {tmp_path}/rules")
    assert listed(root, git=False).code == ("a",)


def test_a_repository_within_that_is_a_partial_clone_of_an_old_git(root: Path) -> None:
    make(root, "n/a", "n/x.o", "n/empty/", "n/.gitignore=*.o\n")
    stock.sh(root / "n", "git init -q; git config core.repositoryFormatVersion 1; git config extensions.partialClone o")
    found = both(root)
    assert found.code == ("n/.gitignore", "n/a")
    assert (found.ignored, found.empty) == (("n/x.o",), ("n/empty",))


def test_folders_that_cannot_be_read_or_are_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, ".gitignore=*.log\n", "a", "b/", "c/d", "z/y.log", "z/")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.rstrip("/") in gone:
            raise gone[path.rstrip("/")]
        return real(path)

    gone = {str(root / "b"): PermissionError(13, "closed"), str(root / "c"): FileNotFoundError(2, "gone")}
    monkeypatch.setattr(os, "scandir", scandir)
    found = listed(root, git=False)
    assert found.code == (".gitignore", "a")
    assert found.ignored == ("b", "c", "z")
    gone = {str(root): OSError(116, "stale")}
    assert listed(root, git=False).code == ()


STAGES = """
stages:
  a: {cmd: "cat in.txt > a.txt; echo a >> both.txt", deps: [in.txt], outs: [a.txt: {cache: false}]}
  b: {cmd: "cat in.txt > b.txt; sed -i s/b/B/ both.txt", deps: [in.txt], outs: [b.txt]}
"""


def test_a_run_needs_no_git_program(
    tmp_path: Path, project: Callable[[dict[str, str]], Path], locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"dvc.yaml": STAGES, "in.txt": "1\n", "both.txt": "b\n.\n.\n"})
    stock.sh(tmp_path, "mkdir bin; for name in bash cat sed; do ln -s $(command -v $name) bin; done")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert not locally(root).failed
    (root / "in.txt").write_text("2\n")
    assert not locally(root).failed
    assert (root / "a.txt").read_text() == "2\n"
    assert (root / "both.txt").read_text() == "B\n.\n.\na\na\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_owner_is_read_without_git(root: Path) -> None:
    make(root, "a", ".gitignore=*.log\n", "x.log", "n/x")
    stock.sh(root / "n", "git init -q")
    before = listed(root)
    marker = root.parent / "marker"
    stock.sh(root, f"git config core.fsmonitor 'touch {marker}'")
    stock.sh(root.parent, "chown -R 12345:12345 project")
    assert subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, check=False).returncode == 128
    assert both(root) == before
    assert not marker.exists()


NAMES = st.sampled_from(["a", "b", "a.x", "b.x", "x", "a b", "[a]", "#a", "!a", "ab", ".a", "a\\b", "\u00e9"])
FILES = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
"""Lower case: with core.ignoreCase, which is not for this file system, Git takes 'A' for a tracked 'a'."""
PARTS = st.one_of(
    NAMES,
    st.sampled_from(
        ["*", "**", "***", "?", "*.x", "[ab]", "[!a]", "[^a]*", "[A-C]", "[]-]", "[[:alpha:]]", "a*", "*B", "A"]
    ),
    st.sampled_from(["[", "[a", "\\a", "\\#a", "a\\", "a**", "**b", "a ", "a\\ ", "[[:no:]]", "[a\\]]", "[/]", "\\*"]),
)
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PARTS, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/", " ", "\r"]),
)
RULES = st.lists(LINES, max_size=4).map(lambda lines: "".join(f"{line}\n" for line in lines))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    files=st.sets(FILES, max_size=12),
    rules=st.dictionaries(st.sampled_from(["", "a/", "b/", "a/b/", "x/"]), RULES, min_size=1, max_size=3),
    exclude=RULES,
    tracked=st.integers(0, 3),
    case=st.sampled_from(["false", "true"]),
)
@example({"a/x", "ab/b/x"}, {"": "a**/x\n"}, "", 0, "false")
def test_it_is_the_same_with_git_and_without(
    tmp_path_factory: pytest.TempPathFactory,
    files: set[str],
    rules: dict[str, str],
    exclude: str,
    tracked: int,
    case: str,
) -> None:
    root = _project(tmp_path_factory)
    added = []
    for number, path in enumerate(sorted(files)):
        with contextlib.suppress(OSError):  # a file is where a folder should be
            make(root, path)
            added += [path] if number % 4 < tracked else []
    for folder, text in rules.items():
        if (root / folder).is_dir():
            (root / folder / ".gitignore").write_text(text)
    (root / ".git" / "info" / "exclude").write_text(exclude)
    stock.sh(root, f"git config core.ignoreCase {case}")
    if added:
        subprocess.run(["git", "add", "-f", "--", *added], cwd=root, check=True)
    found = both(root)
    asked = subprocess.run(
        ["git", "check-ignore", "-z", "--no-index", "--stdin"],
        cwd=root,
        input="".join(f"{path}\0" for path in found.ignored).encode(),
        capture_output=True,
        check=False,
    ).stdout.decode()
    for path in found.ignored:
        if not os.path.isdir(root / path):
            assert path in asked.split("\0")
