"""``dvc-ray repro``."""

from __future__ import annotations

from dvc_ray import api
from dvc_ray.cli.output import plans, renderers
from dvc_ray.cli.parser import Arguments
from dvc_ray.errors import StageFailedError
from dvc_ray.values import OnError, RunOptions, Selection


def run(arguments: Arguments) -> int:
    """Run the command; its exit code.

    Raises:
        StageFailedError: A stage failed.
        DvcRayError: Any other error, before anything has run.
    """
    selection, options = _selection(arguments), _options(arguments)
    if arguments.dry:
        plans.show(api.make_plan(selection, options), as_json=arguments.json)
        return 0
    with renderers.choose(as_json=arguments.json) as listen:
        result = api.repro(selection, options, listen=listen)
    if not result.failed:
        return 0
    names = ", ".join(f"'{report.address}'" for report in result.failed)
    raise StageFailedError(
        f"failed to reproduce {names}", "Mend it and run the same command again: what is done is kept."
    )


def _selection(arguments: Arguments) -> Selection:
    return Selection(
        targets=tuple(arguments.targets),
        single_item=arguments.single_item,
        pipeline=arguments.pipeline,
        all_pipelines=arguments.all_pipelines,
        downstream=arguments.downstream,
        recursive=arguments.recursive,
        glob=arguments.glob,
    )


def _options(arguments: Arguments) -> RunOptions:
    return RunOptions(
        force=arguments.force,
        run_cache=not arguments.no_run_cache,
        on_error=OnError.KEEP_GOING if arguments.keep_going else OnError.FAIL,
        jobs=arguments.jobs,
        address=arguments.address,
    )
