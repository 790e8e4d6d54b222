"""Which files of the project are its code, and which of its directories the driver imports from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import filterfalse
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from dvc_ray import env
from dvc_ray.errors import LiveError
from dvc_ray.files import walk_files
from dvc_ray.redact import named_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LARGEST_GUESSED_FILE: Final = 1024 * 1024
"""Without a code list and without Git, a larger file is taken for data."""
NOT_CODE: Final = frozenset({".git", ".dvc", ".hg", ".svn", "__pycache__"})
GUESSED_NOT_CODE: Final = frozenset(
    {".venv", "venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".cache"}
)
# Ray would apply these, and leave out tracked files that match.
NOT_SHIPPED: Final = frozenset({".gitignore"})
MIB: Final = 1024 * 1024


def code_files(root: Path) -> list[str]:
    """List the project's code, as paths relative to its root.

    Under dvc-ray, these are the files of the snapshot; elsewhere, all that Git tracks or would track (`git ls-files
    -co`). Without Git, these are all files up to 1 MiB, as only the size tells code from data then, except in DVC's
    directories, the usual cache directories and virtual environments. A file that is named like a secret is not code
    unless Git tracks it.
    """
    listed = os.environ.get(env.CODE_LIST)
    if listed:
        names: Iterable[str] = Path(listed).read_text(encoding="utf-8").splitlines()
    else:
        names = _git_files(root) or _guessed_files(root)
    return sorted({name for name in names if name and _is_code(name) and (root / name).is_file()})


def _is_code(name: str) -> bool:
    path = PurePosixPath(name)
    return NOT_CODE.isdisjoint(path.parts) and path.name not in NOT_SHIPPED


def _git_files(root: Path) -> list[str]:
    return [*_listed(root, "--cached"), *filterfalse(named_file, _listed(root, "--others", "--exclude-standard"))]


def _listed(root: Path, *which: str) -> list[str]:
    try:
        done = subprocess.run(["git", "ls-files", "-z", *which], cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        return []
    names: list[str] = []
    for name in filter(None, os.fsdecode(done.stdout).split("\0")):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            # A submodule, or another repository, is one entry; its files are listed from inside.
            names += [f"{name.rstrip('/')}/{inner}" for inner in _git_files(path)]
        else:
            names.append(name)
    return names


def _guessed_files(root: Path) -> Iterator[str]:
    for part in walk_files(str(root), skip=NOT_CODE | GUESSED_NOT_CODE):
        path = root / part
        if not named_file(part) and path.is_file() and path.stat().st_size <= LARGEST_GUESSED_FILE:
            yield part


def check_size(root: Path, files: Sequence[str], limit: int) -> None:
    """Refuse code that is too large for Ray, before anything is copied.

    Raises:
        LiveError: The files together exceed the limit; the largest of them are named.
    """
    sizes = {name: (root / name).stat().st_size for name in files}
    total = sum(sizes.values())
    if total < limit:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    lines = "\n".join(f"  {sizes[name] / MIB:8.1f} MiB  {name}" for name in largest)
    raise LiveError(
        f"the project's code is {total / MIB:.1f} MiB; Ray hands its workers at most {limit / MIB:.0f} MiB.\n"
        f"The largest files:\n{lines}",
        "Track data with DVC (`dvc add`) or name it in .gitignore; workers find it with dvc_ray.data_path().",
    )


def stage_code(root: Path, files: Iterable[str], target: Path) -> None:
    """Copy files into an empty directory, by hard links where the file system allows them."""
    for name in files:
        source, copy = (root / name).resolve(), target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, copy)
        except FileNotFoundError:
            continue  # removed since it was listed
        except OSError:
            shutil.copyfile(source, copy)


def import_dirs(root: Path, files: Sequence[str]) -> list[str]:
    """List the code directories that this process imports from, relative to the root.

    The root itself is not among them: Ray puts it on the path of its workers.

    One of them is the script's own directory (``python src/train.py``), another the working directory of a stage
    with ``wdir``. A virtual environment inside the project does not count, as it holds no code of the project.
    """
    top = root.resolve()
    found: list[str] = []
    for entry in sys.path:
        path = Path(entry).resolve()  # an empty entry is the working directory
        if path == top or not path.is_relative_to(top):
            continue
        name = path.relative_to(top).as_posix()
        if name not in found and any(file.startswith(f"{name}/") for file in files):
            found.append(name)
    return found
