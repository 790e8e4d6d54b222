"""What a run leaves is what stock DVC leaves on a copy of the same project, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.runs import Locally, Repro

CORE = {"diamond", "flags", "links_symlink", "live", "mixed", "subdir", "texts", "tree"}
"""Those that the oldest supported DVC is tried with, too: between them most of what a stage may have."""


NAMES = [path.name for path in sorted(stock.PROJECTS.iterdir()) if path.is_dir()]


def _marks(name: str) -> list[pytest.MarkDecorator]:
    """On Ray, `make test` has the core of them: what a stage leaves is not Ray's, and those have most of it."""
    is_full = stock.Case.load(name).full or name not in CORE
    return [pytest.mark.full] * is_full + [pytest.mark.core] * (name in CORE)


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in NAMES])
def test_leaves_what_stock_dvc_leaves(name: str, tmp_path: Path, repro: Repro) -> None:
    leaves_what_stock_dvc_leaves(name, tmp_path, repro)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CORE and not stock.Case.load(name).full])
def test_without_ray_it_leaves_what_stock_dvc_leaves(name: str, tmp_path: Path, locally: Locally) -> None:
    leaves_what_stock_dvc_leaves(name, tmp_path, locally)


def leaves_what_stock_dvc_leaves(name: str, tmp_path: Path, repro: Repro | Locally) -> None:
    case = stock.Case.load(name)
    expected = stock.expected(case, tmp_path / "stock" / "project")
    root = tmp_path / "ours" / "project"
    case.make(root)
    for step in case.steps:
        case.change(root, step)
        result = repro(root, RunRequest(all_pipelines="-P" in case.args, force=step == "forced", jobs=4))
        assert not result.failed, (step, result.failed)
        assert stock.differences(expected[step], stock.snapshot(root)) == [], step
        if step == "no-op" and not case.restless:
            assert {report.state for report in result.reports} <= {StageState.UNCHANGED}
    assert not list((root / ".dvc" / "tmp" / "ray" / "runs").glob("*/work/*"))
