"""Holds DVC's repo lock around calls that would take it themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from dvc_ray.errors import ProjectError
from dvc_ray.repo.dvc.failures import translate_errors


def _nothing() -> None:
    """Do nothing: the caller has been told already."""


@contextlib.contextmanager
def locked(repo: Any, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a repository.

    Args:
        repo: The ``dvc.repo.Repo``.
        waiting: As in `dvc_ray.repo.Project.locked`.

    Raises:
        ProjectError: Another DVC process holds the lock.
    """
    from dvc.lock import LockError

    with contextlib.ExitStack() as stack:
        while True:
            try:
                with translate_errors():
                    stack.enter_context(repo.lock)
                break
            except ProjectError as error:
                if waiting is None or not isinstance(error.__cause__, LockError):
                    raise
                waiting()
                waiting = _nothing
        repo._lock_depth += 1  # so that dvc.repo.lock_repo does not lock once more
        try:
            yield
        finally:
            repo._lock_depth -= 1
