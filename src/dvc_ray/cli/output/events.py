"""Events and plans as JSON; what `--json` prints, one object a line.

Each object has ``event`` and ``version``. The version changes when a field changes its meaning or goes; new fields do
not change it.
"""

from __future__ import annotations

from typing import Any, Final

from dvc_ray.cli.output import plain
from dvc_ray.errors import DvcRayError
from dvc_ray.redact import public
from dvc_ray.values.report import Notice, Output, Planned, RunEvent, RunResult, Saved, StageReport
from dvc_ray.values.stage import Plan, Step

VERSION: Final = 1


def dumps(event: RunEvent) -> str:
    """One event as a line of JSON."""
    return plain.dumps({"event": _name(event), "version": VERSION, **_fields(event)})


def error(what: DvcRayError, hint: str) -> str:
    """What ended a command as a line of JSON."""
    fields = {"kind": type(what).__name__, "what": what.what, "hint": hint, "exit_code": what.exit_code}
    return plain.dumps({"event": "error", "version": VERSION, **fields})


def plan_fields(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values."""
    unseen = [
        {"path": found.path, "environment": found.is_environment, "secret": found.is_secret} for found in plan.unseen
    ]
    more = {"unseen": unseen, "untracked": list(plan.untracked)}
    return {"stages": [_step(step) for step in plan.steps], **{name: found for name, found in more.items() if found}}


def _name(event: RunEvent) -> str:
    names: dict[type, str] = {
        Planned: "plan",
        StageReport: "stage",
        Output: "output",
        Notice: "notice",
        RunResult: "end",
        Saved: "experiment",
    }
    return names[type(event)]


def _fields(event: RunEvent) -> dict[str, Any]:
    if isinstance(event, Planned):
        return {"run": event.run_id, **plan_fields(event.plan)}
    if isinstance(event, StageReport):
        return report(event)
    if isinstance(event, Output):
        return {"stage": event.address, "attempt": event.attempt, "text": event.text}
    if isinstance(event, Notice):
        return {"level": event.level, "text": event.text}
    if isinstance(event, Saved):
        return {"name": event.name, "rev": event.rev, "applied": event.applied, "why": event.why}
    return {
        "run": event.run_id,
        "ok": event.ok,
        "seconds": round(event.seconds, 3),
        "stages": [report(each) for each in event.reports],
    }


def report(event: StageReport) -> dict[str, Any]:
    """A stage's state as JSON values; what is empty is left out."""
    fields = {
        "stage": event.address,
        "state": event.state.value,
        "reason": event.reason,
        "waiting_for": event.waiting_for,
        "node": event.node,
        "seconds": round(event.seconds, 3),
        "exit_code": event.exit_code,
        "error": event.error,
        "log": event.log,
        "tail": list(event.tail),
    }
    return {key: value for key, value in fields.items() if value not in ("", None, [], 0.0)}


def _step(step: Step) -> dict[str, Any]:
    settings = step.spec.settings
    return {
        "stage": step.spec.address,
        "action": step.action.value,
        "reasons": list(step.reasons),
        "wave": step.wave,
        "kind": step.spec.kind.value,
        "cmd": list(map(public, step.spec.cmd)),
        "upstream": list(step.spec.upstream),
        "untracked": list(step.spec.untracked),
        "resources": {
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "memory": settings.memory,
            "resources": dict(settings.resources),
            "grows": list(settings.grows),
            "accelerator_type": settings.accelerator_type,
            "label_selector": dict(settings.label_selector),
            "max_parallel": settings.max_parallel,
            "mutex": list(settings.mutex),
        },
    }
