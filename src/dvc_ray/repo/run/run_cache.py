"""Asks DVC's run cache without restoring from it, and removes entries."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TICK: Final = 0.1
"""Seconds by which a file's mtime may be behind the clock."""


class _RestorableError(Exception):
    """DVC would check outs out now."""


def has(repo: Any, stage: Any, *, run_cache: bool, pull: bool) -> bool:
    """Whether ``Stage.run`` would restore a stage instead of running its command.

    DVC's own ``StageCache.restore`` (3.67.1) decides, and is stopped where it would check outs out. It gets the stage
    loaded once more: it stores hashes of deps in the stage, which would look unchanged afterwards.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The stage; not changed.
        run_cache: Whether to use the run cache; not with ``dvc repro --no-run-cache``.
        pull: Whether to pull the data of a result that is found, as ``dvc repro --pull`` does.

    Raises:
        DvcException: A dep is missing.
    """
    from dvc.stage import PipelineStage
    from dvc.stage.cache import RunCacheNotFoundError

    # From the file that is parsed already: `load_one` would parse dvc.yaml and dvc.lock for each stage.
    pipeline = isinstance(stage, PipelineStage)
    again = stage.dvcfile.stages[stage.name] if pipeline else repo.stage.load_one(stage.path)
    try:
        with _no_checkout():
            repo.stage_cache.restore(again, run_cache=run_cache, pull=pull)
    except _RestorableError:
        return True
    except RunCacheNotFoundError:
        return False
    return False


@contextlib.contextmanager
def _no_checkout() -> Iterator[None]:
    from dvc.stage import Stage

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise _RestorableError

    original = Stage.checkout
    Stage.checkout = refuse
    try:
        yield
    finally:
        Stage.checkout = original


def forget(repo: Any, stage: Any, entry: Mapping[str, Any] | None, since: float) -> None:
    """Remove an attempt's entry of the run cache (``StageCache.save``), unless the entry was there before.

    Args:
        repo: The ``dvc.repo.Repo``.
        stage: The ``dvc.stage.PipelineStage``; not changed.
        entry: The attempt's entry of dvc.lock; None for that of the stage as it is.
        since: When the attempt began (`time.time`).
    """
    from dvc.stage.cache import _can_hash, _get_cache_hash
    from dvc.stage.loader import StageLoader
    from dvc.stage.serialize import to_single_stage_lockfile

    if entry is not None:
        definition = stage.dvcfile.resolver.resolve_one(stage.name)[stage.name]
        stage = StageLoader.load_stage(stage.dvcfile, stage.name, definition)
        StageLoader.fill_from_lock(stage, entry)
    if not _can_hash(stage):
        return
    lock = to_single_stage_lockfile(stage)
    value = _get_cache_hash(lock)
    path = repo.stage_cache._get_cache_path(_get_cache_hash(lock, key=True), value)  # replaces outs in `lock` by names
    with contextlib.suppress(OSError):
        if os.stat(path).st_mtime > since - _TICK:
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
