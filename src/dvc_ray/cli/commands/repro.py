"""``dvc-ray repro``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dvc_ray import api
from dvc_ray.cli.commands import running
from dvc_ray.cli.options import Arguments
from dvc_ray.cli.output import plans
from dvc_ray.cli.output.choose import choose
from dvc_ray.errors import BadArgumentError

if TYPE_CHECKING:
    from dvc_ray.executors.base import Executor
    from dvc_ray.values.run import RunRequest


def run(arguments: Arguments) -> int:
    """Run the command; return its exit code.

    Raises:
        StageFailedError: A stage failed.
        DvcRayError: Any other error, before anything has run.
    """
    request, executor = running.request(arguments), None
    if arguments.debug is not None:
        request, executor = _debugged(arguments, request)
    if arguments.dry:
        plans.show(api.make_plan(request), as_json=arguments.json)
        return 0
    confirm = running.confirm(arguments)
    asking = arguments.interactive or executor is not None  # a table would be drawn over what a debugger prints
    with choose(as_json=arguments.json, asking=asking, quiet=arguments.quiet) as sinks:
        result = api.repro(request, sinks=sinks, confirm=confirm, executor=executor)
    running.check(result)
    return 0


def _debugged(arguments: Arguments, request: RunRequest) -> tuple[RunRequest, Executor]:
    """Change the request to one stage in this process.

    Raises:
        BadArgumentError: The name fits no single stage, or other targets or ``--json`` are given.
        DvcRayError: As `dvc_ray.api.make_plan`.
    """
    from dvc_ray.executors.local import LocalExecutor

    if arguments.targets or arguments.json:
        refused = "other targets" if arguments.targets else "--json"
        raise BadArgumentError(
            f"--debug runs one stage with this terminal: it does not go with {refused}",
            f"Run: dvc-ray repro --debug {arguments.debug}",
        )
    request = replace(request, targets=(arguments.debug,), single_item=True, force=True, address="local")
    steps = api.make_plan(request).steps
    if len(steps) != 1:
        names = ", ".join(step.spec.address for step in steps[:5])
        raise BadArgumentError(
            f"'{arguments.debug}' names {len(steps)} stages, and --debug runs one", f"Name one of them: {names}"
        )
    return request, LocalExecutor(attached=True)
