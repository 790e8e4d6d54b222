"""``dvc-ray repro``."""

from __future__ import annotations

from dvc_ray import api
from dvc_ray.cli import running
from dvc_ray.cli.output import plans
from dvc_ray.cli.output.choose import choose
from dvc_ray.cli.parser import Arguments


def run(arguments: Arguments) -> int:
    """Run the command; its exit code.

    Raises:
        StageFailedError: A stage failed.
        DvcRayError: Any other error, before anything has run.
    """
    request = running.request(arguments)
    if arguments.dry:
        plans.show(api.make_plan(request), as_json=arguments.json)
        return 0
    confirm = running.confirm(arguments)
    with choose(as_json=arguments.json, asking=arguments.interactive, quiet=arguments.quiet) as sinks:
        result = api.repro(request, sinks=sinks, confirm=confirm)
    running.check(result)
    return 0
