"""An attempt from its task to its result."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from dvc_ray import command
from dvc_ray.errors import StorageError, UnreachableError
from dvc_ray.values.report import Output
from dvc_ray.values.stage import StageState
from dvc_ray.values.surroundings import Surroundings
from dvc_ray.values.task import FileBundle, StageResult, StageTask, Started
from dvc_ray.worker.attempt import Attempt
from dvc_ray.worker.data_access import open_access
from dvc_ray.workspace import Changes


def run_stage(  # noqa: PLR0913  what a worker knows besides the task
    task: StageTask,
    *,
    emit: Callable[[Started | Output], None],
    stopped: Callable[[], bool],
    cluster: Mapping[str, str] | None = None,
    surroundings: Surroundings | None = None,
    bundles: Sequence[FileBundle] = (),
    attached: bool = False,
) -> StageResult:
    """Run a stage in a workspace of its own and leave the workspace for the head to empty.

    On a node that shares no disk with the head, the result has all that goes to the head, and nothing is left.

    Changes the working directory and SHELL of the process while it runs: one stage at a time in a process.

    Args:
        task: What to run.
        emit: Receives its start and its output.
        stopped: Asked several times a second whether to end the command.
        cluster: Variables with which the command's own Ray driver joins the cluster.
        surroundings: Process attributes for the command, used if the task has none.
        bundles: Files of the head's tree, for a node that does not see it.
        attached: Whether the command gets the terminal of this process; this must then be the main thread.

    Returns:
        The result; a failed command is a result, not an exception.
    """
    emit(Started(address=task.address, attempt=task.attempt, node=socket.gethostname()))
    begun = time.monotonic()
    try:
        access = open_access(task, bundles)
    except (StorageError, OSError) as error:
        return _not_prepared(task, error, begun)
    with contextlib.closing(access):
        attempt = Attempt(access, emit, stopped, cluster=cluster or {}, surroundings=surroundings, attached=attached)
        return access.finish(_result(task, attempt, begun))


def _not_prepared(task: StageTask, error: StorageError | OSError, begun: float) -> StageResult:
    return StageResult(
        address=task.address,
        attempt=task.attempt,
        state=StageState.FAILED,
        node=socket.gethostname(),
        seconds=time.monotonic() - begun,
        workspace=task.workspace,
        error=f"cannot be prepared on this node: {error}",
        unreachable=isinstance(error, UnreachableError),
    )


def _result(task: StageTask, attempt: Attempt, begun: float) -> StageResult:
    with contextlib.closing(attempt.followed):
        state, entry, error = attempt.run()
        try:
            found = attempt.changes()
        except OSError as wrong:
            found = Changes(changed=(), deleted=(), created=())
            state, entry, error = StageState.FAILED, None, error or f"what it left cannot be read: {wrong}"
    if attempt.has_lost_its_workspace():
        state, entry, attempt.command_failed = StageState.FAILED, None, False
        error = f"its workspace was removed while it ran: {task.workspace}. Nothing of yours was touched."
    return StageResult(
        address=task.address,
        attempt=task.attempt,
        state=state,
        node=socket.gethostname(),
        seconds=time.monotonic() - begun,
        workspace=task.workspace,
        entry=entry,
        hashes=attempt.hashes if state is StageState.DONE else (),
        exit_code=attempt.code,
        error=attempt.mask.text(error),
        changed=found.changed,
        deleted=found.deleted,
        created=found.created,
        replaced=found.replaced,
        moved=found.moved,
        copied=found.copied,
        own_ray=attempt.own_ray,
        git_added=attempt.git_added,
        git_written=attempt.git_written,
        stale=attempt.stale(),
        timed_out=attempt.why is command.End.TIMEOUT,
        command_failed=attempt.command_failed,
    )
