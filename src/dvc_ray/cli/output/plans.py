"""A plan, printed: what ``--dry`` shows."""

from __future__ import annotations

from dvc_ray import planning
from dvc_ray.cli.output import plain, texts
from dvc_ray.redact import public
from dvc_ray.values.stage import Action, Plan, Step


def show(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        from dvc_ray.values import wire  # runs load this module but print plans only for --dry

        print(plain.dumps({"event": "plan", "version": wire.VERSION, **wire.plan_fields(plan)}))
        return
    if plan.nothing_to_do:
        print("Data and pipelines are up to date.")
        return
    for number, wave in enumerate(planning.waves(plan), start=1):
        print(f"Step {number}{_together(wave)}:")
        width = max(len(plain.one_line(step.spec.address)) for step in wave)
        for step in wave:
            _show_step(step, width)
    for text in texts.untracked(plan):
        print(plain.lines(text))
    if plan.unseen:
        print(plain.lines(planning.say_unseen(plan.unseen)))
    if plan.untracked:
        print(plain.lines(planning.say_untracked(plan.untracked)))
    skipped = [step.spec.address for step in plan.steps if step.action is Action.SKIP]
    if skipped:
        print(plain.one_line(f"Unchanged: {', '.join(skipped)}"))


def _together(wave: list[Step]) -> str:
    if len(wave) == 1:
        return ""
    if not any(step.spec.settings.max_parallel or step.spec.settings.mutex for step in wave):
        return f", {len(wave)} at the same time"
    from dvc_ray.driver import admission

    number = admission.together(admission.Claim.of(step.spec.group, step.spec.settings) for step in wave)
    return f", {len(wave)} stages, at first {number} at the same time"


def _show_step(step: Step, width: int) -> None:
    verb = "run" if step.action is Action.RUN else "may run"
    asks = texts.resources(step.spec.settings) + texts.turns(step.spec)
    what = plain.one_line(f"{verb}: {', '.join(step.reasons)}  [{asks}]")
    print(f"  {plain.one_line(step.spec.address):<{width}}  {what}")
    for cmd in step.spec.cmd:
        print(f"  {'':<{width}}  > {plain.one_line(public(cmd))}")
