"""Removes old logs from a remote, on the head: of each owner, as many runs keep their logs there as on disk.

Checkpoints (``storage``) belong to the user, and results that no driver has taken to other runs: both stay.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dvc_ray.paths import KEEP_RUNS
from dvc_ray.storage import FOLDER, Objects

_RUN: Final = re.compile(r"(\d{8}-\d{6})-(?:(\w+)-)?[0-9a-f]{4}")
"""Id of a run, with the time when it began and its owner (`runs.directory.open_run`)."""
_WEEK: Final = 7 * 86400.0
"""Seconds for which logs stay in any case: a run on another machine may still be alive."""
KEEP_DAYS: Final = 30
"""Days after which a rule of the bucket should have removed logs, where no run may remove anything."""
_MONTH: Final = KEEP_DAYS * 86400.0
"""Seconds for which an object stays that lay among results and is not one."""
_AT_A_TIME: Final = 16
_AT_MOST: Final = 100
"""Old runs whose logs are removed in one run."""


def remove_old(store: Objects, living: Collection[str]) -> None:
    """Remove logs of old runs, and what was set aside long ago.

    Args:
        store: The remote.
        living: Ids of runs of this project that are alive.

    Raises:
        DeniedError: The store does not let us remove anything.
        StorageError: The store cannot be reached, or refuses otherwise.
    """
    now = time.time()
    old = [name for name in old_runs(store.folders(f"{FOLDER}/runs"), now) if name not in living]
    prefixes = [f"{FOLDER}/runs/{name}/logs" for name in old[:_AT_MOST]]
    aside = store.folders(f"{FOLDER}/unreadable/runs")
    prefixes += [f"{FOLDER}/unreadable/runs/{name}" for name in aside if now - _begun(name, now) > _MONTH]
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="dvc-ray-retention") as pool:
        keys = [key for found in pool.map(lambda prefix: list(store.keys(prefix)), prefixes) for key in found]
        list(pool.map(store.delete, keys))


def old_runs(names: Iterable[str], now: float) -> list[str]:
    """Select the runs whose logs are removed, the youngest first; a folder that is not named like a run stays.

    Args:
        names: Names of the folders.
        now: Seconds since the epoch.
    """
    return sorted(_old(names, now), reverse=True)


def _old(names: Iterable[str], now: float) -> Iterator[str]:
    by_owner: dict[str, list[str]] = {}
    for name in sorted(names, reverse=True):
        if found := _RUN.fullmatch(name):
            by_owner.setdefault(found[2] or "", []).append(name)
    for runs in by_owner.values():
        yield from (name for name in runs[KEEP_RUNS:] if now - _begun(name, now) > _WEEK)


def _begun(name: str, now: float) -> float:
    """Return when a run began, on whichever machine; the present time if the name has none."""
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return now
