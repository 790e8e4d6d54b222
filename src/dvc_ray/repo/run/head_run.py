"""DVC's own ``Stage.run``, up to the point where it would run the command."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


class WorkerNeededError(Exception):
    """DVC would run a command now."""


@contextlib.contextmanager
def no_commands() -> Iterator[None]:
    """Let DVC go as far as it can without running a command; where it would run one, raise `WorkerNeededError`."""
    import dvc.stage.run as dvc_run

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise WorkerNeededError

    original = dvc_run.cmd_run
    dvc_run.cmd_run = refuse
    try:
        yield
    finally:
        dvc_run.cmd_run = original


@contextlib.contextmanager
def outs_left(stage: Any) -> Iterator[None]:
    """Leave the outs of a stage's last run where they are, until DVC checks out others in their place.

    ``Stage.run`` (3.67.1) removes outs first of all. But much can fail before a command runs elsewhere, and an out that
    is in no cache would be lost for nothing.

    Args:
        stage: The ``dvc.stage.Stage`` that runs in the block.
    """
    from dvc.stage import Stage

    checkout = Stage.checkout

    def replace(cached: Any, *arguments: Any, **options: Any) -> Any:
        Stage.remove_outs(stage, ignore_remove=False, force=False)
        return checkout(cached, *arguments, **options)

    if stage.is_import:  # nothing runs elsewhere: DVC brings the data now
        yield
        return
    stage.remove_outs = lambda **_options: None
    Stage.checkout = replace
    try:
        yield
    finally:
        Stage.checkout = checkout
        del stage.remove_outs


@contextlib.contextmanager
def as_before(stage: Any) -> Iterator[Callable[[bool], None]]:
    """Restore the hashes of a stage after the block, unless the stage is finished by then.

    To ask the run cache, DVC stores the current hashes of deps in the stage (``StageCache.restore``, 3.67.1), as if the
    stage had run. If its attempt is given up later, the stage would look unchanged, with the outs of its last run,
    which are still there.

    Args:
        stage: The ``dvc.stage.Stage``.

    Yields:
        A function to call with whether the stage is finished.
    """
    found = [(item, item.hash_info, item.meta) for item in (*stage.deps, *stage.outs)]
    ends: list[bool] = []
    try:
        yield ends.append
    finally:
        if not any(ends):
            for item, hash_info, meta in found:
                item.hash_info, item.meta = hash_info, meta


def pull_missing_deps(stage: Any) -> None:
    """Pull missing deps from the remote, as ``dvc repro --pull`` does before it runs a stage."""
    from dvc.stage.run import _pull_missing_deps

    _pull_missing_deps(stage)
