"""Planning what a project's stages need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dvc_ray import planning
from dvc_ray.errors import ProjectError
from dvc_ray.repo import Project
from dvc_ray.values.run import OnError, RunSettings
from dvc_ray.values.stage import Action, Plan, StageKind, StageSpec, Status


def make(project: Project, specs: Sequence[StageSpec], options: RunSettings, *, dry: bool) -> Plan:
    """Plan the selected stages of a project; needs it locked.

    Args:
        project: The project.
        specs: Its selected stages.
        options: How they run.
        dry: Nothing will run: the plan says what a run would refuse.

    Raises:
        DvcRayError: Some of what stages read is nowhere, or a remote cannot be asked.
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
    """Status of a stage before the run; what cannot be judged now may be once what is upstream has run."""
    try:
        return project.stages.status(address, allow_missing=options.allow_missing)
    except ProjectError as error:
        return Status(changed=False, reasons=(error.what,), judged=False)


def _with_untracked(
    project: Project, specs: Sequence[StageSpec], statuses: Mapping[str, Status], options: RunSettings
) -> tuple[StageSpec, ...]:
    """Find what stages read that one before them may write; looked for where one before them may run."""
    first = planning.first_to_move(specs, statuses, force=options.force) + 1
    later = (replace(spec, untracked=project.untracked(spec.address)) for spec in specs[first:])
    return (*specs[:first], *later)


def _with_refusals(project: Project, chosen: Plan, statuses: Mapping[str, Status], options: RunSettings) -> Plan:
    """Have a plan that is only shown say what the run would say of the stages that it begins with."""
    if options.allow_missing or options.pull or options.on_error is OnError.IGNORE:
        return chosen  # a run looks at it later
    steps = []
    for step in chosen.steps:
        first = step.wave == 1 and step.action is not Action.SKIP
        refusal = project.stages.refusal(step.spec.address) if first and step.spec.kind is StageKind.COMMAND else ""
        # With nothing before it, what cannot be judged now will not be later.
        reasons = step.reasons if step.judged or not first else ()
        refusal = refusal or ("" if step.judged or not first else ", ".join(statuses[step.spec.address].reasons))
        steps.append(replace(step, reasons=(*reasons, f"will fail: {refusal}")) if refusal else step)
    return replace(chosen, steps=tuple(steps))
