"""What programs print where they fail, as they print it today, and what is read from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dvc_ray.driver.command_output import Sign, signs
from tests.helpers import stock

PYTHON = {
    "gitpython": "import git; git.Repo('.')",
    "gitpython add": "import git; git.Repo('.').index.add(['b'])",
    "gitpython object": "import git; git.Repo('.').tree()['a'].data_stream",
    "dulwich": "from dulwich import porcelain; porcelain.add('.', ['b'])",
    "libgit2": "import pygit2; index = pygit2.Repository('.').index; index.add('b'); index.write()",
    "dvc": "from dvc.scm import NoSCM, resolve_rev; resolve_rev(NoSCM('.'), 'HEAD')",
    "rmtree": "import os, shutil; os.mkdir('real'); os.symlink('real', 'link'); shutil.rmtree('link')",
}


def said(folder: Path, *command: str) -> list[str]:
    """What a command prints that fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode, (command, done)
    return (done.stdout + done.stderr).splitlines()


def python(folder: Path, name: str) -> list[str]:
    return said(folder, sys.executable, "-c", PYTHON[name])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    stock.sh(tmp_path, "git init -q .; echo a > a; git add a; git commit -qm a; echo b > b")
    return tmp_path


def test_where_there_is_no_repository(tmp_path: Path) -> None:
    assert signs(said(tmp_path, "git", "log")) == {Sign.NO_REPOSITORY}
    for name in ("gitpython", "dvc"):
        assert signs(python(tmp_path, name)) == {Sign.NO_REPOSITORY}, name


def test_where_git_is_locked(repository: Path) -> None:
    (repository / ".git/index.lock").touch()
    assert signs(said(repository, "git", "add", "b")) == {Sign.WRITES_TO_GIT}
    for name in ("gitpython add", "dulwich", "libgit2"):
        assert signs(python(repository, name)) == {Sign.WRITES_TO_GIT}, name
    (repository / ".git/index.lock").unlink()
    (repository / ".git/HEAD.lock").touch()
    assert signs(said(repository, "git", "commit", "--allow-empty", "-m", "x")) == {Sign.WRITES_TO_GIT}
    (repository / ".git/packed-refs.lock").touch()
    assert signs(said(repository, "git", "pack-refs", "--all")) == {Sign.WRITES_TO_GIT}


def test_where_an_object_is_missing(repository: Path) -> None:
    stock.sh(repository, "rm .git/objects/$(git rev-parse HEAD:a | sed 's,^..,&/,')")
    stock.sh(repository, "echo more > a")
    for command in ("show HEAD:a", "cat-file -p HEAD:a", "archive HEAD", "diff HEAD", f"ls-tree {'0' * 39}1"):
        assert signs(said(repository, "git", *command.split())) == {Sign.NO_OBJECT}, command
    assert signs(python(repository, "gitpython object")) == {Sign.NO_OBJECT}


def test_a_link_that_is_removed_as_a_folder(tmp_path: Path) -> None:
    assert signs(python(tmp_path, "rmtree")) == {Sign.LINKED_FOLDER}


def test_other_output_tells_nothing(tmp_path: Path) -> None:
    assert signs(said(tmp_path, sys.executable, "-c", "open('model.pkl')")) == set()
