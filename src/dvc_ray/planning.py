"""What a run will do and why: a pure function of the stages and their status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from dvc_ray.values.stage import Action, Plan, StageSettings, StageSpec, Status, Step, Unseen

_NAMED: Final = 5
"""Paths that a message names; the others are only counted."""


def make(specs: Iterable[StageSpec], statuses: Mapping[str, Status], *, force: bool = False) -> Plan:
    """Make the plan of a run.

    Args:
        specs: The stages in DVC's order: upstream stages first.
        statuses: Status by address, each as if no upstream stage ran.
        force: Run stages that have not changed, as ``dvc repro --force``.

    Returns:
        The plan. An unchanged stage with an upstream stage that runs is MAYBE: whether it runs is known when its deps
        are.
    """
    steps: dict[str, Step] = {}
    last = 0  # highest wave so far
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
    """Return the index of the first stage that a plan does not skip; the number of stages if it skips all."""
    place = -1
    for place, spec in enumerate(specs):
        if _action(statuses[spec.address], moving=False, force=force) is not Action.SKIP:
            return place
    return place + 1


def with_runtime_env(specs: Iterable[StageSpec], common: Mapping[str, Any]) -> tuple[StageSpec, ...]:
    """Give stages a common runtime_env; a stage's own keys win, in ``env_vars`` variable by variable."""
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
    """Group the steps that may run by wave: the steps of a wave can run at the same time."""
    grouped: dict[int, list[Step]] = {}
    for step in plan.steps:
        if step.action is not Action.SKIP:
            grouped.setdefault(step.wave, []).append(step)
    return [grouped[wave] for wave in sorted(grouped)]


def say_unseen(unseen: Sequence[Unseen]) -> str:
    """Say what commands may miss on machines that share no disk with the head, and how to get it there.

    Args:
        unseen: Not empty.
    """
    secrets = [found.path for found in unseen if found.is_secret]
    files = [found.path for found in unseen if not found.is_environment and not found.is_secret]
    environments = [found.path for found in unseen if found.is_environment]
    lines = ["The machines that stages run on do not have what Git ignores here."] if files or environments else []
    if files:
        lines.append(f"  {_some(files)}: what a stage reads of that, name in dvc.yaml: {_include(files[0])}")
    if environments:
        lines.append(
            f"  {_some(environments)}: have the same packages there: in the image or the setup_commands of the"
            ' cluster, or by Ray, in .dvc/ray.toml: runtime_env = {uv = "requirements.txt"}'
        )
    if secrets:
        lines.append(
            "Not sent to other machines, as Git does not track them and they are called like secrets:"
            f" {_some(secrets)}. A stage that needs one, names it in dvc.yaml: {_include(secrets[0])}"
        )
    return "\n".join(lines)


def _include(path: str) -> str:
    quoted = f'"{path}"' if set(path) & set(" ,[]{}:#&*'") else path
    return f"meta: {{ray: {{include: [{quoted}]}}}}"


def say_untracked(paths: Sequence[str]) -> str:
    """Say which files that Git does not track go to other machines; empty if there are none."""
    if not paths:
        return ""
    return (
        "Files that Git does not track and does not ignore go to the machines that stages run on, as code:"
        f" {_some(paths)}."
        " What is to stay here, name in .gitignore."
    )


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(f"'{path}'" for path in paths[:_NAMED]) + more


def _action(status: Status, *, moving: bool, force: bool) -> Action:
    if force or status.changed:
        return Action.RUN
    return Action.MAYBE if moving or not status.judged else Action.SKIP


def _reasons(status: Status, moving: list[str], untracked: tuple[str, ...], *, force: bool) -> tuple[str, ...]:
    if not status.judged:
        return tuple(f"cannot be judged yet: {reason}" for reason in status.reasons)
    if status.changed:
        return status.reasons
    if force:
        return ("forced",)
    after = (f"after {', '.join(moving)}",) if moving else ()
    return (*after, *(f"a stage before it may write '{dep}'" for dep in untracked)) or ("unchanged",)
