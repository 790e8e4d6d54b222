"""A repository with a history, and what is asked of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.helpers import stock

HISTORY = """
git init -q -b main; git config user.name me; git config user.email me@example.com
mkdir d; echo 1 > a; echo b > b; echo c > d/c; printf '.venv/\\n*.pyc\\n' > .gitignore; git add -A; git commit -qm one
git tag -a v1.0 -m first; git tag light; git branch other; git pack-refs --all
echo 2 > a; git commit -qam two; git tag -a v1.1 -m second
echo 3 > d/c; GIT_REFLOG_ACTION='pull https://me:secret@example.com/it.git main' git commit -qam three
git remote add origin https://me:secret@example.com/it.git; git config branch.main.remote origin
git config branch.main.merge refs/heads/main; git config http.https://example.com/.extraheader 'Authorization: secret'
git config core.hooksPath /nonexistent; git config user.password secret
git config branch.other.remote ssh://git:secret@example.com/it.git; git config lfs.url https://me:s@secret@example.com/lfs
git update-ref refs/remotes/origin/main HEAD~1; git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main
echo '/mine' >> .git/info/exclude; mkdir .venv; touch .venv/x mine
"""


QUESTIONS = (
    "rev-parse HEAD",
    "rev-parse --abbrev-ref HEAD",
    "describe",
    "describe --dirty --tags --long --match '*[0-9]*'",
    "describe --all --always",
    "status --porcelain --branch",
    "status",
    "diff",
    "diff --stat HEAD~1",
    "diff-index --quiet HEAD",
    "log --oneline --decorate --all --graph",
    "branch --show-current",
    "branch --all --verbose --verbose",
    "config user.name",
    "remote",
    "ls-files --stage",
    "ls-files --others --exclude-standard",
    "show HEAD:d/c",
    "show --stat",
    "blame -s a",
    "cat-file -p HEAD^{tree}",
    "rev-list --count HEAD",
    "rev-parse --is-shallow-repository",
    "tag --points-at HEAD~1",
    "tag --list --format='%(refname) %(objecttype) %(*objectname)'",
    "for-each-ref",
    "show-ref --dereference",
    "rev-parse @{upstream}",
    "merge-base HEAD other",
    "grep c",
    "check-ignore x.pyc mine",
    "archive HEAD",
    "fsck",
    "submodule status",
    "stash list",
)


FILTERS = ("blob:none", "tree:0")


def asked(root: Path, question: str) -> tuple[int, str, str]:
    done = subprocess.run(["bash", "-c", f"git {question}"], cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def same_answers(one: Path, other: Path, questions: tuple[str, ...] = QUESTIONS) -> None:
    for question in questions:
        assert asked(other, question) == asked(one, question), question


def partial(home: Path, tmp_path: Path, kind: str) -> Path:
    """A clone that asks its origin for what it is asked for."""
    stock.sh(home, "git config uploadpack.allowFilter true; git config uploadpack.allowAnySHA1InWant true")
    stock.sh(tmp_path, f"git clone -q --filter={kind} file://{home} partial")
    return tmp_path / "partial"
