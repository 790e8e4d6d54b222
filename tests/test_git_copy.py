"""Git in a workspace answers as in the user's tree, and the user's repository stays as it is, byte for byte."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.driver import explain
from dvc_ray.repo.git import state_copy
from dvc_ray.values.git import GitTemplates
from dvc_ray.workspace import git_copy
from tests.helpers import stock
from tests.helpers.asking_git import FILTERS, HISTORY, QUESTIONS, asked, partial, same_answers
from tests.helpers.runs import Locally


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    root.mkdir()
    stock.sh(root, HISTORY)
    return root


Make = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Make:
    """Makes workspaces of a tree: as `materialise` does, copies with their time."""

    def make(tree: Path, *repositories: str, hidden: tuple[str, ...] = (".venv",), also: Path | None = None) -> Path:
        templates = prepared(tmp_path, tree, *repositories, also=also)
        root = tmp_path / f"workspace{len(list(tmp_path.iterdir()))}"
        shutil.copytree(tree, root, symlinks=True, ignore=lambda _, names: [name for name in names if name == ".git"])
        for path in hidden:
            if (root / path).is_dir():
                shutil.rmtree(root / path)
                (root / path).symlink_to(tree / path)
        git_copy.place(templates, str(root), hidden)
        return root

    return make


def prepared(tmp_path: Path, tree: Path, *repositories: str, also: Path | None = None) -> GitTemplates:
    folder = tmp_path / f"templates{len(list(tmp_path.iterdir()))}"
    return state_copy.prepare(str(tree), repositories, str(folder), also=str(also) if also else None)


def state(root: Path) -> dict[str, Any]:
    """All of a tree and its repository: content, mode and time. No time of objects: Git touches what it wants kept."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            stat = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(root))] = (
                stat.st_mode,
                stat.st_mtime_ns if content and ".git/objects" not in folder else 0,
                content,
            )
    return found


def test_git_answers_as_in_the_users_tree(home: Path, workspace: Make) -> None:
    same_answers(home, workspace(home))


def test_changes_are_seen_as_in_the_users_tree(home: Path, workspace: Make) -> None:
    stock.sh(
        home,
        "echo more >> a; git add a; echo again >> a; rm b; echo n > new; git mv d/c d/e; chmod +x d/e; mkdir u; > u/w",
    )
    same_answers(home, workspace(home))


def test_a_file_of_the_same_size_and_second_is_seen_to_have_changed(home: Path, workspace: Make) -> None:
    now = time.time_ns()
    (home / "b").write_text("x\n")
    os.utime(home / "b", ns=(now, now))
    stock.sh(home, "git add b; git commit -qm x")
    (home / "b").write_text("y\n")
    os.utime(home / "b", ns=(now, now))
    os.utime(home / ".git" / "index", ns=(now, now))
    assert asked(workspace(home), "status --porcelain")[1] == " M b\n"


def test_files_are_not_read_to_see_that_they_are_the_same(home: Path, workspace: Make) -> None:
    long_ago = 10**18
    for name in ("a", "b", "d/c", ".gitignore"):
        os.utime(home / name, ns=(long_ago, long_ago))
    stock.sh(home, "git update-index -q --refresh")
    root = workspace(home)
    state = os.stat(root / "b")
    (root / "b").write_text("x\n")  # a trick that Git falls for: so it does not read
    os.utime(root / "b", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert asked(root, "status --porcelain")[1] == ""


@pytest.mark.parametrize(
    "made",
    [
        "git checkout -q --detach HEAD~1",
        "git checkout -q --orphan unborn; git rm -rqf --cached .",
        "git checkout -q --orphan unborn",
        "git symbolic-ref HEAD refs/heads/gone",
        "git gc -q",
        "git update-index --split-index",
        "git update-index --index-version 4",
        "git update-index --untracked-cache; git status -s",
        "git sparse-checkout set d",
        "git sparse-checkout set --cone --sparse-index d",
        "git stash list; git tag -a nested -m x v1.0; git tag deep nested -a -m y",
        "git replace HEAD~1 HEAD~2",
        "git config core.abbrev 12; git config status.showUntrackedFiles no",
        "echo 'a diff=upper' > .git/info/attributes; git config diff.upper.textconv 'tr a-z A-Z <'; echo q > a",
        "git worktree add --detach ../l; git config extensions.worktreeConfig true; git config --worktree user.name w",
        "git rm -q a; git commit -qm gone; rm -r .git/objects/info; git prune",
        "git config include.path ../included; printf '[user]\\n\\tname = included\\n' > included",
        "git config alias.x '!touch reached'; git config url.https://me:secret@example.com/.insteadOf x:",
    ],
)
def test_repositories_of_many_kinds(home: Path, workspace: Make, made: str) -> None:
    stock.sh(home, made)
    same_answers(home, workspace(home))


def test_a_linked_work_tree(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(
        home,
        "git worktree add -q -b wt ../linked; cd ../linked; echo x > a; git add a",
    )
    questions = tuple(question for question in QUESTIONS if "branch --all" not in question)  # it shows work trees
    same_answers(tmp_path / "linked", workspace(tmp_path / "linked"), questions)


def test_a_shallow_clone_and_one_that_borrows(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(tmp_path, f"git clone -q --depth 1 file://{home} shallow; git clone -q --shared home shared")
    stock.sh(
        tmp_path,
        "git clone -q -s shared again; echo ../../../shared/.git/objects > again/.git/objects/info/alternates",
    )
    for name in ("shallow", "shared", "again"):
        same_answers(tmp_path / name, workspace(tmp_path / name))


@pytest.mark.parametrize("kind", FILTERS)
def test_a_partial_clone(home: Path, workspace: Make, tmp_path: Path, kind: str) -> None:
    """What a command asks for is brought into the workspace: the user's has as little as before."""
    root = partial(home, tmp_path, kind)
    before = state(root)
    here = workspace(root)
    assert asked(here, "--no-lazy-fetch status --porcelain")[0] in {0, 129}  # 129: a Git that has no such option yet
    answers = {question: asked(here, question) for question in (*QUESTIONS, "log -p")}
    assert state(root) == before
    assert answers == {question: asked(root, question) for question in answers}
    assert b"+c\n" in answers["log -p"][1].encode()


def test_a_stage_in_a_partial_clone(
    project: Callable[[dict[str, str]], Path], locally: Locally, tmp_path: Path
) -> None:
    asks = "git status --porcelain; git log --oneline --stat; git show HEAD~1:in.txt; git describe --always"
    origin = project(
        {"dvc.yaml": f"stages: {{a: {{cmd: ({asks}) > out, deps: [in.txt], outs: [out]}}}}", "in.txt": "1"}
    )
    stock.sh(origin, "echo 2 > in.txt; git commit -qam two")
    root = partial(origin, tmp_path, "blob:none")
    assert not locally(root).failed
    (root / "dvc.lock").unlink()
    (root / ".gitignore").unlink()
    expected = stock.sh(root, f"({asks}) > ../out; cat ../out")
    assert (root / "out").read_text() == expected


def test_git_folder_elsewhere(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(home, "mv .git ../else.git; echo 'gitdir: ../else.git' > .git; git config core.worktree ../home")
    same_answers(home, workspace(home))


def test_another_hash(workspace: Make, tmp_path: Path) -> None:
    stock.sh(
        tmp_path,
        "git init -q --object-format=sha256 longer; cd longer; > a; git add a; git commit -qm a; git tag -am x v1",
    )
    same_answers(tmp_path / "longer", workspace(tmp_path / "longer"), ("rev-parse HEAD", "status", "describe", "log"))


def test_what_cannot_be_copied_is_no_repository(home: Path, tmp_path: Path) -> None:
    """And ends the search for one, which would find the next further up."""
    stock.sh(
        home, "git init -q n; git config extensions.refStorage reftable; git config core.repositoryFormatVersion 1 "
    )
    templates = prepared(tmp_path, home, "n", "m")
    assert [bool(folder) for _, folder in templates.places] == [False, True, False]
    (tmp_path / "w").mkdir()
    git_copy.place(templates, str(tmp_path / "w"), ())
    assert "not a git repository" in asked(tmp_path / "w", "status")[2]
    assert "not a git repository" in asked(tmp_path / "w" / "m", "status")[2]
    assert asked(tmp_path / "w" / "n", "status")[0] == 0


def test_without_git_there_is_nothing(tmp_path: Path) -> None:
    assert prepared(tmp_path, tmp_path).places == ()


def test_no_program_is_needed_and_no_secret_copied(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.devnull)
        templates = prepared(tmp_path, home)
        (tmp_path / "w").mkdir()
        git_copy.place(templates, str(tmp_path / "w"), ())
    assert asked(tmp_path / "w", "remote get-url origin")[1] == "https://example.com/it.git\n"
    assert asked(tmp_path / "w", "config branch.other.remote")[1] == "ssh://git@example.com/it.git\n"
    copied = [path for path in (tmp_path / "w" / ".git").rglob("*") if path.is_file()]
    assert [str(path) for path in copied if b"secret" in path.read_bytes()] == []
    assert asked(tmp_path / "w", "rev-parse HEAD") == asked(home, "rev-parse HEAD")


def test_repositories_within(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(tmp_path, "git clone -q home other")
    stock.sh(home, "git -c protocol.file.allow=always submodule --quiet add $PWD/../other s/sub; git commit -qm sub")
    stock.sh(
        home,
        "git clone -q ../other n; git init -q n/deep; echo x > s/sub/a; > n/new; mkdir n/deep/.venv; > n/deep/.venv/x",
    )
    root = workspace(home, "s/sub", "n", "n/deep", hidden=(".venv", "n/deep/.venv"))
    for path in (".", "s/sub", "n"):
        same_answers(home / path, root / path)
    assert asked(root / "n" / "deep", "status --porcelain")[1] == ""
    before = state(home)
    for path in ("s/sub", "n"):
        assert asked(root / path, "commit --allow-empty -m x")[0] != 0
    assert state(home) == before


def test_an_experiments_copy_has_the_refs_and_settings_of_the_user(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(tmp_path, "mkdir copy; cd copy; git init -q; git fetch -q ../home HEAD:refs/exps/exec/EXEC_HEAD")
    copy = tmp_path / "copy"
    stock.sh(copy, "git checkout -q --detach refs/exps/exec/EXEC_HEAD; echo x > a; git commit -qam mine; echo y > a")
    root = workspace(copy, also=home)
    same_answers(copy, root, ("rev-parse HEAD", "status", "diff", "log", "branch --show-current"))
    same_answers(
        home, root, ("tag", "config user.name", "rev-parse other", "rev-parse origin/main", "check-ignore mine")
    )
    assert asked(root, "describe --tags")[1].startswith("v1.1-2-g")
    assert "refs/exps/exec/EXEC_HEAD" in asked(root, "for-each-ref")[1]


def test_paths_of_the_workspace_itself_are_ignored(home: Path, workspace: Make) -> None:
    names = ("env", "[x]*", "a b ", "\\q", "new\nline", "#h", "!n", "deep/er")
    for name in names:
        (home / name).mkdir(parents=True)
        (home / name / "x").touch()
    rules = (".venv/", "env/", "\\[x\\]*/", "a b\\ /", "\\\\q/", "new?line/", "\\#h/", "\\!n/", "deep/er/")
    (home / ".gitignore").write_text("\n".join(rules))
    (home / ".dvc" / "tmp" / "x").mkdir(parents=True)
    (home / ".dvc" / "tmp" / "y").touch()
    root = workspace(home, hidden=names)
    assert asked(root, "status --porcelain")[1] == " M .gitignore\n"
    (root / "xenv").touch()
    assert asked(root, "status --porcelain")[1] == " M .gitignore\n?? xenv\n"


WRITES = (
    "add a",
    "commit -am x",
    "commit --no-verify --allow-empty -m x",
    "checkout other",
    "checkout -b new",
    "checkout -- a",
    "restore a",
    "switch --detach HEAD~1",
    "reset --hard HEAD~1",
    "reset",
    "stash",
    "rm -f a",
    "mv a z",
    "tag t",
    "tag -d light",
    "branch new",
    "branch -D other",
    "branch -m main renamed",
    "update-ref refs/heads/new HEAD",
    "update-ref HEAD HEAD~1",
    "update-ref refs/odd/new HEAD",
    "symbolic-ref HEAD refs/heads/other",
    "worktree add ../worktree other",
    "worktree add --detach ../worktree",
    "gc --prune=now",
    "pack-refs --all",
    "fetch ../home main:new",
    "pull ../home other --no-rebase",
    "notes add -m x",
    "merge other --no-ff",
    "merge -s ours light --no-ff -m x",
    "rebase --force-rebase other",
    "cherry-pick HEAD~1",
    "revert --no-edit HEAD",
    "bisect start",
    "replace HEAD HEAD~1",
    "read-tree HEAD~1",
    "push ../home main:pushed",
)


def test_what_writes_is_refused_and_does_not_reach_the_user(home: Path, workspace: Make, tmp_path: Path) -> None:
    before = state(home)
    root = workspace(home)
    mine = {path: found for path, found in state(root).items() if not path.startswith(".git/")}
    for command in WRITES:
        code, out, said = asked(root, command)
        now = {path: found for path, found in state(root).items() if not path.startswith(".git/")}
        refused = code != 0 or "up to date" in out or "up to date" in said
        assert (command, refused, now == mine) == (command, True, True)
        assert "up to date" in out + said or not said or explain.about_git("s", said.splitlines()), (command, said)
        assert state(home) == before, command
    templates = prepared(tmp_path, home)
    assert git_copy.written(templates, str(root)) == ()


def test_what_is_only_in_the_workspace_is_let_be(home: Path, workspace: Make) -> None:
    before = state(home)
    root = workspace(home)
    for command in (
        "hash-object -w a",
        "config a.b c",
        "remote add new /x",
        "clean -fdx",
        "fetch ../home",
        "repack -ad",
    ):
        assert asked(root, command)[0] == 0, command
    assert state(home) == before


def _pygit2(root: Path) -> None:
    import pygit2

    repo = pygit2.Repository(str(root))
    who = pygit2.Signature("a", "b")
    repo.create_commit("HEAD", who, who, "m", repo.head.peel(pygit2.Commit).tree_id, [repo.head.peel().id])


def _dulwich(root: Path) -> None:
    from dulwich import porcelain

    porcelain.commit(str(root), message=b"x")
    porcelain.tag_create(str(root), b"made")


def _gitpython(root: Path) -> None:
    import git

    git.Repo(root).create_head("made")


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (_pygit2, ("refs/heads/main",)),
        (_dulwich, ("refs/heads/main", "refs/tags/made")),
        (_gitpython, ("refs/heads/made",)),
        (lambda root: stock.sh(root, "rm .git/index.lock; echo x > a; git add a"), ("index",)),
        (
            lambda root: stock.sh(root, "rm .git/*.lock; git -c core.hooksPath=/ commit --allow-empty -qm x"),
            ("refs/heads/main",),
        ),
        (lambda root: stock.sh(root, "rm .git/HEAD; echo ref: refs/heads/other > .git/HEAD"), ("HEAD",)),
    ],
)
def test_what_gets_past_the_locks_is_found(
    home: Path, workspace: Make, tmp_path: Path, write: Callable[[Path], None], found: tuple[str, ...]
) -> None:
    before = state(home)
    root = workspace(home)
    write(root)
    assert state(home) == before
    names = git_copy.written(prepared(tmp_path, home), str(root))
    assert set(found) <= set(names) <= {*found, "index"}
    assert "Its command writes to Git (" in explain.about_git("s", (), names)


FOUND = ("HEAD", "packed-refs", "index", "refs/remotes/origin/HEAD")


@pytest.mark.parametrize("name", [*FOUND, "shallow", "config", "info/attributes", "logs/HEAD"])
def test_a_file_that_a_command_writes_into_is_as_it_was_for_the_next(home: Path, tmp_path: Path, name: str) -> None:
    stock.sh(home, "echo '* text' > .git/info/attributes; git rev-parse HEAD~1 > .git/shallow")
    templates = prepared(tmp_path, home)
    for number in range(3):
        root = tmp_path / f"next{number}"
        root.mkdir()
        git_copy.place(templates, str(root), ())
        assert git_copy.written(templates, str(root)) == ()
        assert b"more" not in (root / ".git" / name).read_bytes()
        with (root / ".git" / name).open("ab") as file:
            file.write(b"more")
        assert git_copy.written(templates, str(root)) == ((name,) if name in FOUND else ())


def _by_gitpython(root: Path) -> Any:
    import git

    repo = git.Repo(root)
    names = [sorted(ref.name for ref in refs) for refs in (repo.tags, repo.heads, repo.remotes.origin.refs)]
    return repo.head.commit.hexsha, repo.active_branch.name, names, repo.is_dirty(), repo.untracked_files


def _by_pygit2(root: Path) -> Any:
    import pygit2

    repo = pygit2.Repository(str(root))
    return str(repo.head.target), repo.head.shorthand, sorted(repo.listall_references()), repo.describe(), repo.status()


def _by_dulwich(root: Path) -> Any:
    from dulwich import porcelain
    from dulwich.repo import Repo

    with Repo(str(root)) as repo:
        refs = (repo.head(), sorted(repo.get_refs().items()), sorted(repo.refs.allkeys()))
    return refs, porcelain.status(str(root)), porcelain.describe(str(root)), sorted(porcelain.tag_list(str(root)))


def _by_scmrepo(root: Path) -> Any:
    from scmrepo.git import Git

    git = Git(str(root))
    try:
        lists = [
            sorted(found) for found in (git.list_branches(), git.list_tags(), git.list_all_commits(), git.iter_refs())
        ]
        return git.get_rev(), git.active_branch(), lists, git.is_dirty(), git.resolve_rev("v1.0"), git.untracked_files()
    finally:
        git.close()


@pytest.mark.parametrize("ask", [_by_gitpython, _by_pygit2, _by_dulwich, _by_scmrepo])
def test_libraries_get_the_answers_that_they_get_in_the_users_tree(
    home: Path, workspace: Make, ask: Callable[[Path], Any]
) -> None:
    stock.sh(home, "echo more >> b; echo > new")
    assert ask(workspace(home, hidden=())) == ask(home)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_programs_that_another_owner_names_are_not_run(home: Path, workspace: Make, tmp_path: Path) -> None:
    stock.sh(
        home, f"git config filter.f.clean 'touch {tmp_path}/ran; cat'; git config diff.external 'touch {tmp_path}/ran'"
    )
    stock.sh(home, "echo '* filter=f' > .git/info/attributes; echo more >> a")
    stock.sh(tmp_path, "chown -R 12345:12345 home")
    root = workspace(home)
    assert asked(root, "status --porcelain")[1] == " M a\n"
    assert asked(root, "diff")[0] == 0
    assert not (tmp_path / "ran").exists()


def test_it_costs_little(home: Path, tmp_path: Path) -> None:
    templates = prepared(tmp_path, home)
    times = []
    for number in range(30):
        (tmp_path / f"w{number}").mkdir()
        start = time.perf_counter()
        git_copy.place(templates, str(tmp_path / f"w{number}"), (".venv",))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03  # about a millisecond on a quiet machine
