from __future__ import annotations

import sys

import pytest

from dvc_ray import env
from dvc_ray.errors import LiveError
from dvc_ray.live import code

FILES = {
    "train.py": "",
    "src/model.py": "",
    "src/__pycache__/model.pyc": "",
    "data/images.bin": "",
    ".dvc/config": "",
    "venv/lib/thing.py": "",
}


def test_git_lists_tracked_and_new_files_and_leaves_ignored_data(write, git):
    root = write({**FILES, ".gitignore": "/data\n__pycache__\nvenv\n", "kept.log": ""})
    git(root, "init", "-q")
    git(root, "add", "train.py", ".dvc", ".gitignore")
    assert code.code_files(root) == ["kept.log", "src/model.py", "train.py"]


def test_a_file_deleted_but_still_in_the_index_is_left_out(write, git):
    root = write({"train.py": "", "old.py": ""})
    git(root, "init", "-q")
    git(root, "add", ".")
    (root / "old.py").unlink()
    assert code.code_files(root) == ["train.py"]


def test_files_of_a_submodule_are_code(write, git):
    root = write({"lib/inside.py": "", "train.py": ""})
    git(root / "lib", "init", "-q")
    git(root / "lib", "add", ".")
    git(root / "lib", "commit", "-qm", "start")
    git(root, "init", "-q")
    git(root, "-c", "advice.addEmbeddedRepo=false", "add", ".")
    assert code.code_files(root) == ["lib/inside.py", "train.py"]


def test_below_the_root_of_git_only_the_project_is_listed(write, git):
    root = write({"project/train.py": "", "other/thing.py": ""})
    git(root, "init", "-q")
    assert code.code_files(root / "project") == ["train.py"]


def test_without_git_size_and_well_known_names_decide(write):
    root = write(FILES)
    (root / "data/images.bin").write_bytes(b"0" * (code.LARGEST_GUESSED_FILE + 1))
    assert code.code_files(root) == ["src/model.py", "train.py"]


@pytest.mark.parametrize("by_git", [True, False])
def test_what_is_called_like_a_secret_is_no_code_unless_git_tracks_it(write, git, by_git):
    root = write({"train.py": "", ".env": "", "sub/key.pem": "", ".aws/config": "", "tracked.pem": ""})
    if by_git:
        git(root, "init", "-q")
        git(root, "add", "tracked.pem")
    assert code.code_files(root) == [*(["tracked.pem"] if by_git else []), "train.py"]


def test_dvc_ray_names_the_code_itself(write, monkeypatch, tmp_path):
    root = write(FILES)
    (tmp_path / "list").write_text("train.py\nsrc/model.py\ngone.py\n.dvc/config\n")
    monkeypatch.setenv(env.CODE_LIST, str(tmp_path / "list"))
    assert code.code_files(root) == ["src/model.py", "train.py"]


def test_too_much_code_is_refused_and_the_largest_files_named(write):
    root = write({"train.py": "x", "model.bin": "x" * 3_000_000})
    code.check_size(root, ["train.py", "model.bin"], limit=4_000_000)
    with pytest.raises(LiveError, match=r"2\.9 MiB  model\.bin\n.*0\.0 MiB  train\.py") as caught:
        code.check_size(root, ["train.py", "model.bin"], limit=2_000_000)
    assert "dvc add" in caught.value.hint


def test_staged_code_is_the_same_tree(write, tmp_path):
    root = write({"train.py": "a", "src/model.py": "b", "src/link.py": ""})
    (root / "src/link.py").unlink()
    (root / "src/link.py").symlink_to(root / "train.py")
    (tmp_path / "staged").mkdir()
    code.stage_code(root, ["train.py", "src/model.py", "src/link.py", "gone.py"], tmp_path / "staged")
    staged = {p.relative_to(tmp_path / "staged").as_posix(): p for p in (tmp_path / "staged").rglob("*.py")}
    assert {name: path.read_text() for name, path in staged.items()} == {
        "train.py": "a",
        "src/model.py": "b",
        "src/link.py": "a",
    }
    assert not staged["src/link.py"].is_symlink()


def test_import_dirs_are_those_of_the_project_with_code_in_them(write, monkeypatch):
    root = write({"steps/train.py": "", "lib/helper.py": "", "venv/site.py": ""})
    paths = [str(root / "steps"), str(root), str(root / "lib"), str(root / "venv"), "/usr/lib"]
    monkeypatch.setattr(sys, "path", paths)
    assert code.import_dirs(root, ["steps/train.py", "lib/helper.py"]) == ["steps", "lib"]
