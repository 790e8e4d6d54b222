"""Registers an experiment as a running entry of DVC's queue."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc_ray import processes
from dvc_ray.repo.experiments.stale import OWNER


@contextlib.contextmanager
def told_as_saved() -> Iterator[dict[str, Any]]:
    """Make DVC report to DVC Studio the metrics with which an experiment was saved; yields the dict to put them in.

    DVC reads metrics when it leaves the experiment's directory (``BaseExecutor._repro_dvc``, 3.67.1), but by then their
    files have been moved into the workspace.
    """
    from dvc.repo.metrics import show

    kept: dict[str, Any] = {}
    gather = show._gather_metrics

    def gathered(*arguments: Any, **options: Any) -> Any:
        return kept["gathered"] if kept else gather(*arguments, **options)

    show._gather_metrics = gathered
    try:
        yield kept
    finally:
        show._gather_metrics = gather


def keep_remotes(theirs: Any, config: Any) -> None:
    """Make remotes with a relative path point to the same place as in the user's project."""
    moved = {
        name: remote["url"]
        for name, remote in theirs["remote"].items()
        if remote["url"] != config["remote"].get(name, remote)["url"]
    }
    if moved:
        with config.edit("local") as local:
            for name, url in moved.items():
                local.setdefault("remote", {}).setdefault(name, {})["url"] = str(url)


def executor_of(exps: Any, entry: Any, stack: contextlib.ExitStack) -> Any:
    """Create DVC's own executor, with a directory of its own; this uses up the stash entry."""
    from dvc.repo.experiments.executor.local import TempDirExecutor

    class Executor(TempDirExecutor):  # type: ignore[misc]
        WARN_UNTRACKED = False  # dvc-ray reports such files, or brings them home

        @classmethod
        @contextlib.contextmanager
        def auto_push(cls, dvc: Any) -> Iterator[None]:  # noqa: ARG003
            """Push later, from the user's repository: the experiment's has no remotes."""
            yield

    queue = exps.tempdir_queue
    executor = queue.init_executor(exps, entry, Executor, wdir=queue._standalone_tmp_dir)
    stack.callback(executor.cleanup)
    return executor


def announce(queue: Any, rev: str, executor: Any, stack: contextlib.ExitStack) -> tuple[str, processes.Write]:
    """Make ``dvc exp show`` list the experiment, and let other processes know who owns the experiment.

    The directory appears with the files in it: ``dvc exp show`` fails on an empty directory (3.67.1), and would list an
    experiment without an owner forever.

    Returns:
        The path of DVC's file about the experiment, and a function that rewrites the file about the owner.
    """
    from dvc_task.proc.process import ProcessInfo

    infofile = Path(queue.get_infofile_path(rev))
    infofile.parent.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=queue._standalone_tmp_dir))
    executor.info.dump_json(str(made / infofile.name))
    ProcessInfo(os.getpid(), None, None, None, None).dump(str(made / f"{rev}.json"))
    own = stack.enter_context(processes.owned(made / OWNER, {"root": executor.root_dir}))
    made.chmod(0o755)
    made.rename(infofile.parent)
    stack.callback(shutil.rmtree, infofile.parent, ignore_errors=True)
    return str(infofile), own
