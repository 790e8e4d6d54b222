"""What a run will do and why: a pure function of the stages and their status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dvc_ray.values.stage import Action, Plan, StageSettings, StageSpec, Status, Step


def make(specs: Iterable[StageSpec], statuses: Mapping[str, Status], *, force: bool = False) -> Plan:
    """Make the plan of a run.

    Args:
        specs: The stages in DVC's order: upstream before what depends on it.
        statuses: Status by address, each as if nothing upstream ran.
        force: Run stages that have not changed, as ``dvc repro --force``.

    Returns:
        The plan. A stage that is unchanged itself but has something upstream that runs is MAYBE: whether it runs is
        known when its deps are.
    """
    steps: dict[str, Step] = {}
    last = 0  # wave of those before
    for spec in specs:
        status = statuses[spec.address]
        before = [steps[name] for name in (*spec.upstream, *spec.after) if name in steps]
        moving = [step.spec.address for step in before if step.action is not Action.SKIP]
        serial = bool(spec.untracked and last)
        wave = 1 + (last if serial else max((steps[name].wave for name in moving), default=0))
        action = _action(status, moving=bool(moving) or serial, force=force)
        steps[spec.address] = Step(
            spec=spec,
            action=action,
            reasons=_reasons(status, moving, spec.untracked if serial else (), force=force),
            wave=wave,
            judged=status.judged,
        )
        last = last if action is Action.SKIP else max(last, wave)
    return Plan(steps=tuple(steps.values()))


def first_to_move(specs: Iterable[StageSpec], statuses: Mapping[str, Status], *, force: bool = False) -> int:
    """Place of the first stage that a plan does not skip; how many there are if it skips all."""
    place = -1
    for place, spec in enumerate(specs):
        if _action(statuses[spec.address], moving=False, force=force) is not Action.SKIP:
            return place
    return place + 1


def with_runtime_env(specs: Iterable[StageSpec], common: Mapping[str, Any]) -> tuple[StageSpec, ...]:
    """Give stages a runtime_env; what their own says, wins, variable by variable in ``env_vars``."""
    if not common:
        return tuple(specs)
    return tuple(replace(spec, settings=_with_runtime_env(spec.settings, common)) for spec in specs)


def _with_runtime_env(settings: StageSettings, common: Mapping[str, Any]) -> StageSettings:
    own = settings.runtime_env or {}
    merged = {**common, **own}
    if variables := {**(common.get("env_vars") or {}), **(own.get("env_vars") or {})}:
        merged["env_vars"] = variables
    return replace(settings, runtime_env=merged)


def waves(plan: Plan) -> list[list[Step]]:
    """Group the steps that may run by wave: those of one wave can run at the same time."""
    grouped: dict[int, list[Step]] = {}
    for step in plan.steps:
        if step.action is not Action.SKIP:
            grouped.setdefault(step.wave, []).append(step)
    return [grouped[wave] for wave in sorted(grouped)]


def _action(status: Status, *, moving: bool, force: bool) -> Action:
    if force or status.changed:
        return Action.RUN
    return Action.MAYBE if moving or not status.judged else Action.SKIP


def _reasons(status: Status, moving: list[str], untracked: tuple[str, ...], *, force: bool) -> tuple[str, ...]:
    if status.changed or not status.judged:
        return status.reasons
    if force:
        return ("forced",)
    after = (f"after {', '.join(moving)}",) if moving else ()
    return (*after, *(f"a stage before it may write '{dep}'" for dep in untracked)) or ("unchanged",)
