"""Events as JSON: what ``--json`` prints and ``events.jsonl`` keeps, one object a line.

Each object has ``event`` and ``version``; in the stream of a run, also ``seq`` and ``time``. The version changes when a
field changes its meaning or is removed; new events and fields do not change it, so readers skip unknown ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

from dvc_ray.redact import public
from dvc_ray.values.report import Notice, Output, Planned, Record, RunError, RunEvent, RunResult, Saved, StageReport
from dvc_ray.values.stage import Action, Plan, StageKind, StageSettings, StageSpec, StageState, Step, Unseen

VERSION: Final = 1

Fields = Mapping[str, Any]
_Word = TypeVar("_Word", bound=Enum)


def encode(record: Record) -> dict[str, Any]:
    """An event of a run's stream as JSON values."""
    name, fields = _written(record.event)
    return {"event": name, "version": VERSION, "seq": record.seq, "time": round(record.time, 3), **fields}


def encode_event(event: RunEvent) -> dict[str, Any]:
    """An event by itself as JSON values."""
    name, fields = _written(event)
    return {"event": name, "version": VERSION, **fields}


def decode(fields: Fields) -> Record | None:
    """Read what `encode` has written, here or in another version.

    Fields that are not on the wire get their defaults: settings of a stage other than resources, a failure's exception.

    Returns:
        None for what this version does not know: a kind of event, a state, a later version of the format.

    Raises:
        ValueError: It is not an event.
    """
    try:
        kind = next((kind for kind in KINDS if kind.name == fields["event"]), None)
        if kind is None or fields["version"] > VERSION:
            return None
        return Record(seq=fields["seq"], time=fields["time"], event=kind.read(fields))
    except _LaterWordError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no event of a run: {fields!r}") from error


def plan_fields(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values."""
    unseen = [
        {"path": found.path, "environment": found.is_environment, "secret": found.is_secret} for found in plan.unseen
    ]
    more = {"unseen": unseen, "untracked": list(plan.untracked)}
    return {"stages": [_step(step) for step in plan.steps], **{name: found for name, found in more.items() if found}}


def _written(event: RunEvent) -> tuple[str, dict[str, Any]]:
    kind = next(kind for kind in KINDS if kind.made_of is type(event))
    return kind.name, kind.write(event)


def _planned(event: Planned) -> dict[str, Any]:
    return {"run": event.run_id, **plan_fields(event.plan)}


def _output(event: Output) -> dict[str, Any]:
    return {"stage": event.address, "attempt": event.attempt, "text": event.text}


def _notice(event: Notice) -> dict[str, Any]:
    return {"level": event.level, "text": event.text}


def _saved(event: Saved) -> dict[str, Any]:
    return {"name": event.name, "rev": event.rev, "applied": event.applied, "why": event.why}


def _error(event: RunError) -> dict[str, Any]:
    return {"kind": event.kind, "what": event.what, "hint": event.hint, "exit_code": event.exit_code}


def _report(event: StageReport) -> dict[str, Any]:
    """A stage's state as JSON values, without empty fields."""
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


def _result(event: RunResult) -> dict[str, Any]:
    more = {"in_remote": event.in_remote, "pulled": event.pulled, "ignores_errors": event.ignores_errors}
    return {
        "run": event.run_id,
        "ok": event.ok,
        "seconds": round(event.seconds, 3),
        "stages": [_report(each) for each in event.reports],
        **{name: True for name, holds in more.items() if holds},
    }


def _step(step: Step) -> dict[str, Any]:
    spec, settings = step.spec, step.spec.settings
    fields: dict[str, Any] = {
        "stage": spec.address,
        "action": step.action.value,
        "reasons": list(step.reasons),
        "wave": step.wave,
        "kind": spec.kind.value,
        "cmd": list(map(public, spec.cmd)),
        "upstream": list(spec.upstream),
        "untracked": list(spec.untracked),
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
    more = {"group": spec.group, "after": list(spec.after), "judged": None if step.judged else False}
    return {**fields, **{name: found for name, found in more.items() if found not in ("", [], None)}}


class _LaterWordError(Exception):
    """An enum value that only a later version knows."""


def _one_of(words: type[_Word], word: str) -> _Word:
    try:
        return words(word)
    except ValueError:
        raise _LaterWordError(word) from None


def _read_plan(fields: Fields) -> Planned:
    unseen = (
        Unseen(path=found["path"], is_environment=found["environment"], is_secret=found["secret"])
        for found in fields.get("unseen", ())
    )
    steps = tuple(map(_read_step, fields["stages"]))
    return Planned(
        run_id=fields["run"], plan=Plan(steps=steps, unseen=tuple(unseen), untracked=tuple(fields.get("untracked", ())))
    )


def _read_step(fields: Fields) -> Step:
    asked = fields["resources"]
    spec = StageSpec(
        address=fields["stage"],
        kind=_one_of(StageKind, fields["kind"]),
        cmd=tuple(fields["cmd"]),
        upstream=tuple(fields["upstream"]),
        after=tuple(fields.get("after", ())),
        untracked=tuple(fields["untracked"]),
        settings=StageSettings(
            num_cpus=asked["num_cpus"],
            num_gpus=asked["num_gpus"],
            memory=asked["memory"],
            resources=tuple(asked["resources"].items()),
            grows=tuple(asked["grows"]),
            accelerator_type=asked["accelerator_type"],
            label_selector=tuple(asked["label_selector"].items()),
            max_parallel=asked["max_parallel"],
            mutex=tuple(asked["mutex"]),
        ),
        group=fields.get("group", ""),
    )
    return Step(
        spec=spec,
        action=_one_of(Action, fields["action"]),
        reasons=tuple(fields["reasons"]),
        wave=fields["wave"],
        judged=fields.get("judged", True),
    )


def _read_report(fields: Fields) -> StageReport:
    return StageReport(
        address=fields["stage"],
        state=_one_of(StageState, fields["state"]),
        reason=fields.get("reason", ""),
        waiting_for=fields.get("waiting_for", ""),
        node=fields.get("node", ""),
        seconds=fields.get("seconds", 0.0),
        exit_code=fields.get("exit_code"),
        error=fields.get("error", ""),
        log=fields.get("log", ""),
        tail=tuple(fields.get("tail", ())),
    )


def _read_output(fields: Fields) -> Output:
    return Output(address=fields["stage"], attempt=fields["attempt"], text=fields["text"])


def _read_notice(fields: Fields) -> Notice:
    return Notice(text=fields["text"], level=fields["level"])


def _read_result(fields: Fields) -> RunResult:
    return RunResult(
        run_id=fields["run"],
        reports=tuple(map(_read_report, fields["stages"])),
        seconds=fields["seconds"],
        in_remote=fields.get("in_remote", False),
        pulled=fields.get("pulled", False),
        ignores_errors=fields.get("ignores_errors", False),
    )


def _read_saved(fields: Fields) -> Saved:
    why = fields["why"]  # '--temp' is part of the format where results were not to be applied
    return Saved(name=fields["name"], rev=fields["rev"], applied=fields["applied"], why=why, temporary=why == "--temp")


def _read_error(fields: Fields) -> RunError:
    return RunError(
        kind=fields["kind"], what=fields["what"], hint=fields.get("hint", ""), exit_code=fields["exit_code"]
    )


class _Kind(NamedTuple):
    name: str
    made_of: type[RunEvent]
    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Fields], RunEvent]


KINDS: Final = (
    _Kind("plan", Planned, _planned, _read_plan),
    _Kind("stage", StageReport, _report, _read_report),
    _Kind("output", Output, _output, _read_output),
    _Kind("notice", Notice, _notice, _read_notice),
    _Kind("end", RunResult, _result, _read_result),
    _Kind("experiment", Saved, _saved, _read_saved),
    _Kind("error", RunError, _error, _read_error),
)
"""All kinds of events: name, class, and the functions that write and read its fields."""
