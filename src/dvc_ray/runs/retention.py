"""How long logs of runs stay in a remote: as long as those on disk, the last of each owner. On the head.

Checkpoints (``storage``) are the user's, and results that nobody has taken another run's: neither is looked at.
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
"""When a run began, and its owner (`runs.directory.open_run`)."""
_WEEK: Final = 7 * 86400.0
"""Seconds for which logs stay in any case: a run of another machine may still be alive."""
KEEP_DAYS: Final = 30
"""Days after which a rule of the bucket is to have removed logs, where no run may remove anything."""
_MONTH: Final = KEEP_DAYS * 86400.0
"""Seconds for which stays what was found as a result and is none."""
_AT_A_TIME: Final = 16
_AT_MOST: Final = 100
"""Runs that are looked at in one run."""


def remove_old(store: Objects, living: Collection[str]) -> None:
    """Remove logs of old runs, and what was set aside long ago.

    Args:
        store: Where.
        living: Ids of runs of this project that are alive.

    Raises:
        DeniedError: The store lets nobody of ours remove anything.
        StorageError: It cannot be reached, or refuses otherwise.
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
    """Of folders with runs, those whose logs go, the youngest first; what is called like no run of ours stays.

    Args:
        names: Of the folders.
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
    """When a run began, on whatever machine; of what is called like none, now."""
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return now
