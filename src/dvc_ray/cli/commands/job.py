"""``dvc-ray job``: the runs on a cluster."""

from __future__ import annotations

import sys
import time

from dvc_ray import jobs
from dvc_ray.cli.commands import running
from dvc_ray.cli.options import Arguments
from dvc_ray.cli.output import plain, texts
from dvc_ray.errors import BadArgumentError
from dvc_ray.values import wire
from dvc_ray.values.run import ActiveRun

_DECLINED = 1
"""Exit code if the user answers no, the same as DVC's (``dvc.commands.gc``, 3.67.1)."""


def show(arguments: Arguments) -> int:
    """Print all runs; return the exit code.

    Raises:
        DvcRayError: The cluster is not known or cannot be joined.
    """
    found = jobs.list_runs(arguments.address)
    if arguments.json:
        fields = [_fields(run) for run in found]
        print(plain.dumps({"event": "runs", "version": wire.VERSION, "runs": fields}))
    elif not found:
        print("Nothing of dvc-ray runs on the cluster.")
    else:
        _print_table(found)
    return 0


def stop(arguments: Arguments) -> int:
    """Stop a run; return the exit code.

    Raises:
        DvcRayError: There is no such run, or it does not react.
    """
    asking = not arguments.force

    def confirm(run: ActiveRun) -> bool:
        about = f"{run.run_id} is {run.owner}'s ({_where(run)}, {_work(run)})"
        if asking and (arguments.json or not sys.stdin.isatty()):
            raise BadArgumentError(
                f"{about}, not yours, and there is no terminal to confirm it on", f"Stop it all the same: {_again(run)}"
            )
        return not asking or running.ask(f"{about}. Stop it?")

    tell = (lambda _text: None) if arguments.json else (lambda text: print(plain.lines(text), flush=True))
    if not jobs.stop_run(arguments.run, arguments.address, confirm=confirm, tell=tell):
        return _DECLINED
    if arguments.json:
        print(plain.dumps({"event": "stopped", "version": wire.VERSION, "run": arguments.run}))
    else:
        print("It has stopped.")
    return 0


def _again(run: ActiveRun) -> str:
    return f"dvc-ray job stop --force {run.run_id}"


def _print_table(found: tuple[ActiveRun, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Run", "Owner", "Stages", "Time"):
        table.add_column(name, no_wrap=True)  # a truncated id is of no use
    table.add_column("State")
    table.add_column("Project", overflow="fold")
    for run in found:
        state = f"stopped by {run.stopped_by}" if run.stopped_by else "running"
        cells = (run.run_id, run.owner, str(run.stages), _age(run), state, _where(run))
        table.add_row(*map(plain.one_line, cells))
    # Do not wrap lines that other programs read.
    Console(width=None if sys.stdout.isatty() else 500, markup=False, highlight=False).print(table)


def _where(run: ActiveRun) -> str:
    return f"{run.host}:{run.directory}"


def _work(run: ActiveRun) -> str:
    return f"{run.stages} stage{'' if run.stages == 1 else 's'}, for {_age(run)}"


def _age(run: ActiveRun) -> str:
    return texts.duration(max(0.0, time.time() - run.begun))


def _fields(run: ActiveRun) -> dict[str, object]:
    fields = {
        "run": run.run_id,
        "owner": run.owner,
        "host": run.host,
        "directory": run.directory,
        "stages": run.stages,
        "begun": round(run.begun, 3),
        "stopped_by": run.stopped_by,
    }
    return {name: value for name, value in fields.items() if value != ""}
