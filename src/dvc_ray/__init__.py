"""Ray as the remote executor of DVC: the commands as functions, and what a stage's own training code needs.

Names are loaded on first use: ``import dvc_ray`` imports neither Ray nor DVC nor DVCLive.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dvc_ray._version import __version__

if TYPE_CHECKING:
    from dvc_ray.api import exp_run, plan, repro
    from dvc_ray.events import Sink
    from dvc_ray.live.data import data_path
    from dvc_ray.live.live import Live
    from dvc_ray.live.session import storage_path
    from dvc_ray.live.transport import fetch, init
    from dvc_ray.values.report import ExperimentResult, Notice, Output, Planned, Record, RunResult, Saved, StageReport
    from dvc_ray.values.run import Experiment, OnError, RunRequest
    from dvc_ray.values.stage import Action, Plan, StageState, Step

__all__ = [
    "Action",
    "Experiment",
    "ExperimentResult",
    "Live",
    "Notice",
    "OnError",
    "Output",
    "Plan",
    "Planned",
    "Record",
    "RunRequest",
    "RunResult",
    "Saved",
    "Sink",
    "StageReport",
    "StageState",
    "Step",
    "__version__",
    "data_path",
    "exp_run",
    "fetch",
    "init",
    "plan",
    "repro",
    "storage_path",
]

_HOMES: Final = {
    "exp_run": "dvc_ray.api",
    "plan": "dvc_ray.api",
    "repro": "dvc_ray.api",
    "Sink": "dvc_ray.events",
    "data_path": "dvc_ray.live.data",
    "Live": "dvc_ray.live.live",
    "storage_path": "dvc_ray.live.session",
    "fetch": "dvc_ray.live.transport",
    "init": "dvc_ray.live.transport",
    "ExperimentResult": "dvc_ray.values.report",
    "Notice": "dvc_ray.values.report",
    "Output": "dvc_ray.values.report",
    "Planned": "dvc_ray.values.report",
    "Record": "dvc_ray.values.report",
    "RunResult": "dvc_ray.values.report",
    "Saved": "dvc_ray.values.report",
    "StageReport": "dvc_ray.values.report",
    "Experiment": "dvc_ray.values.run",
    "OnError": "dvc_ray.values.run",
    "RunRequest": "dvc_ray.values.run",
    "Action": "dvc_ray.values.stage",
    "Plan": "dvc_ray.values.stage",
    "StageState": "dvc_ray.values.stage",
    "Step": "dvc_ray.values.stage",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Offer the public names before they are loaded."""
    return sorted({*globals(), *__all__})
