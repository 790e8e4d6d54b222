"""What a run has come to, asked for by stage."""

from __future__ import annotations

from dvc_ray.values.report import RunResult, StageReport
from dvc_ray.values.stage import StageState


def states(result: RunResult) -> dict[str, StageState]:
    return {report.address: report.state for report in result.reports}


def report(result: RunResult, address: str) -> StageReport:
    return next(found for found in result.reports if found.address == address)
