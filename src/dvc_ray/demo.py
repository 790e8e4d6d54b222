"""Makes a Git and DVC project from the example that ships with the package, and runs it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dvc_ray import api
from dvc_ray.errors import BadArgumentError, MissingDependencyError
from dvc_ray.events import Sink
from dvc_ray.repo.dvc import new_project
from dvc_ray.values.report import RunResult

_NEEDED: Final = {"torch": "torch", "sklearn": "scikit-learn", "pyarrow": "ray[train]", "pandas": "ray[train]"}
"""Modules the example imports, and the packages they come with."""


def check_installed() -> None:
    """Check that the packages which the example needs are installed.

    Raises:
        MissingDependencyError: A package is missing.
    """
    missing = sorted({package for module, package in _NEEDED.items() if find_spec(module) is None})
    if missing:
        raise MissingDependencyError(
            f"the example needs {', '.join(missing)}", "Install what it needs: pip install 'dvc-ray[demo]'"
        )


def make(directory: str | None) -> Path:
    """Make a Git and DVC project from the example.

    Args:
        directory: Where to make it; None for a new temporary directory.

    Returns:
        The root of the project.

    Raises:
        BadArgumentError: The directory is not empty.
        ProjectError: Git is missing, or one of its commands fails.
    """
    root = Path(directory or tempfile.mkdtemp(prefix="dvc-ray-demo-")).absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BadArgumentError(f"'{directory}' exists and is not an empty directory", "Name another one.")
    with resources.as_file(resources.files("dvc_ray") / "example") as example:
        shutil.copytree(example, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    new_project.create(str(root), "Start from dvc-ray's example")
    return root


def run(root: Path, sinks: Sequence[Sink]) -> RunResult:
    """Run the example.

    The stages' commands call ``python``, so this interpreter is put first in PATH, also if its environment is not
    active.

    Raises:
        DvcRayError: As `api.repro`.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.chdir(root)
    result = api.repro(sinks=sinks)
    if result.ok:
        new_project.commit(str(root), "Run the pipeline")  # so that `dvc metrics diff` has something to compare with
    return result


def metrics(root: Path) -> dict[str, float]:
    """Return the metrics of the example, by file and name."""
    return new_project.metrics(str(root))
