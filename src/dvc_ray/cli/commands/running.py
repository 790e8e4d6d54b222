"""Functions shared by the commands that run stages."""

from __future__ import annotations

import sys
from collections.abc import Callable

from dvc_ray.cli.options import Arguments
from dvc_ray.cli.output import plain
from dvc_ray.errors import BadArgumentError, StageFailedError
from dvc_ray.settings.schema import SETTINGS
from dvc_ray.values.report import RunResult
from dvc_ray.values.run import OnError, RunRequest


def request(arguments: Arguments) -> RunRequest:
    """Make a request from the arguments: which stages, how, and the settings that have flags."""
    return RunRequest(
        targets=tuple(arguments.targets),
        single_item=arguments.single_item,
        pipeline=arguments.pipeline,
        all_pipelines=arguments.all_pipelines,
        downstream=arguments.downstream,
        recursive=arguments.recursive,
        glob=arguments.glob,
        force=arguments.force,
        force_downstream=arguments.force_downstream,
        run_cache=not arguments.no_run_cache,
        pull=arguments.pull,
        allow_missing=arguments.allow_missing,
        commit=not arguments.no_commit,
        on_error=OnError(arguments.on_error),
        **{name: getattr(arguments, name) for name, setting in SETTINGS.items() if setting.flags},
    )


def confirm(arguments: Arguments) -> Callable[[str], bool]:
    """Return the function that asks before each stage.

    Raises:
        BadArgumentError: There is no terminal to ask on.
    """
    if not arguments.interactive:
        return lambda _question: True
    if arguments.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadArgumentError("--interactive needs a terminal", f"Look at the plan first: {arguments.prog} --dry")
    return ask


def check(result: RunResult) -> None:
    """Raise if a run did not go well.

    Raises:
        StageFailedError: A stage failed, and errors are not ignored.
    """
    if result.ok:
        return
    names = ", ".join(f"'{report.address}'" for report in result.failed)
    raise StageFailedError(
        f"failed to reproduce {names}", "Fix it and run the same command again: what is done is kept."
    )


def ask(question: str) -> bool:
    """Ask on the terminal until the answer is yes or no."""
    while True:
        answer = input(f"{plain.lines(question)} [y/n] ").strip().lower()
        if answer in {"y", "yes", "n", "no"}:
            return answer.startswith("y")
