"""``dvc-ray exp run``."""

from __future__ import annotations

from dvc_ray import api
from dvc_ray.cli.commands import running
from dvc_ray.cli.options import Arguments
from dvc_ray.cli.output import plans
from dvc_ray.cli.output.choose import choose
from dvc_ray.values.run import Experiment


def run(arguments: Arguments) -> int:
    """Run the command; return its exit code.

    Raises:
        StageFailedError: A stage failed, so that no experiment was saved.
        DvcRayError: Any other error.
    """
    request = running.request(arguments)
    experiment = Experiment(
        params=tuple(arguments.set_param),
        name=arguments.name,
        message=arguments.message,
        temp=arguments.temp,
        copy_paths=tuple(arguments.copy_paths),
        hydra=not arguments.no_hydra,
    )
    if arguments.dry:
        plans.show(api.make_exp_plan(experiment, request), as_json=arguments.json)
        return 0
    confirm = running.confirm(arguments)
    with choose(as_json=arguments.json, asking=arguments.interactive, quiet=arguments.quiet) as sinks:
        result, _ = api.exp_run(experiment, request, sinks=sinks, confirm=confirm)
    running.check(result)
    return 0
