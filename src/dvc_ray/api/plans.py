"""Plans which stages of a project run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dvc_ray import planning
from dvc_ray.errors import ProjectError
from dvc_ray.repo import Project
from dvc_ray.values.run import OnError, RunSettings
from dvc_ray.values.stage import Action, Plan, StageKind, StageSpec, Status


def make(project: Project, specs: Sequence[StageSpec], options: RunSettings, *, dry: bool) -> Plan:
    """Plan the selected stages of a project, which must be locked.

    Args:
        project: The project.
        specs: Its selected stages.
        options: How they run.
        dry: Whether nothing will run; the plan then says what a run would refuse.

    Raises:
        DvcRayError: Data that stages read is missing everywhere, or a remote cannot be asked.
    """
    statuses = {spec.address: _status(project, spec.address, options) for spec in specs}
    chosen = planning.make(_with_untracked(project, specs, statuses, options), statuses, force=options.force)
    if dry:
        chosen = _with_refusals(project, chosen, statuses, options)
    steps = [step for step in chosen.steps if step.action is not Action.SKIP]
    commands = [step.spec.address for step in steps if step.spec.kind is StageKind.COMMAND]
    project.stages.check_data(commands, [step.spec.address for step in steps])
    if not commands:
        return chosen
    return replace(chosen, unseen=project.stages.unseen(commands), untracked=project.stages.untracked_code())


def _status(project: Project, address: str, options: RunSettings) -> Status:
    """Return the status of a stage before the run; if it cannot be judged now, it may be after its upstream stages."""
    try:
        return project.stages.status(address, allow_missing=options.allow_missing)
    except ProjectError as error:
        return Status(changed=False, reasons=(error.what,), judged=False)


def _with_untracked(
    project: Project, specs: Sequence[StageSpec], statuses: Mapping[str, Status], options: RunSettings
) -> tuple[StageSpec, ...]:
    """Find the untracked deps that an earlier stage may write, for the stages after the first one that may run."""
    first = planning.first_to_move(specs, statuses, force=options.force) + 1
    later = (replace(spec, untracked=project.untracked(spec.address)) for spec in specs[first:])
    return (*specs[:first], *later)


def _with_refusals(project: Project, chosen: Plan, statuses: Mapping[str, Status], options: RunSettings) -> Plan:
    """Add to a plan that is only shown the errors that a run would report for its first stages."""
    if options.allow_missing or options.pull or options.on_error is OnError.IGNORE:
        return chosen  # a run checks it later
    steps = []
    for step in chosen.steps:
        first = step.wave == 1 and step.action is not Action.SKIP
        refusal = project.stages.refusal(step.spec.address) if first and step.spec.kind is StageKind.COMMAND else ""
        # No stage runs before it, so if it cannot be judged now, it cannot be judged later.
        reasons = step.reasons if step.judged or not first else ()
        refusal = refusal or ("" if step.judged or not first else ", ".join(statuses[step.spec.address].reasons))
        steps.append(replace(step, reasons=(*reasons, f"will fail: {refusal}")) if refusal else step)
    return replace(chosen, steps=tuple(steps))
