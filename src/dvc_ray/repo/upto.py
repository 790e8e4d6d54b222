"""DVC's own way of running a stage, up to the point where it would run the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class WorkerNeededError(Exception):
    """DVC has come to that point."""


@contextlib.contextmanager
def no_commands() -> Iterator[None]:
    """Let DVC go as far as it can without running a command; then it raises `WorkerNeededError`."""
    import dvc.stage.run as dvc_run

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise WorkerNeededError

    original = dvc_run.cmd_run
    dvc_run.cmd_run = refuse
    try:
        yield
    finally:
        dvc_run.cmd_run = original


def pull_missing_deps(stage: Any) -> None:
    """Bring deps that are missing from the remote, as ``dvc repro --pull`` does before it runs a stage."""
    from dvc.stage.run import _pull_missing_deps

    _pull_missing_deps(stage)
