"""Removing logs of old runs from the remote, beside a run."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Final

from dvc_ray.errors import DeniedError, StorageError
from dvc_ray.runs.retention import KEEP_DAYS, remove_old
from dvc_ray.storage import FOLDER, Objects
from dvc_ray.storage.lifecycle import RuleState, expires

_WITHIN: Final = 5.0
"""Seconds that a run which has ended waits for it; what is left is for the next one."""


class Retention:
    """Removes what is old, in a thread; no run fails for it.

    Args:
        store: The remote.
        living: Ids of runs that are alive.
    """

    def __init__(self, store: Objects, living: Collection[str]) -> None:
        self._store = store
        self._living = living
        self._rule: RuleState | None = None
        """Of the bucket, where nobody of ours may remove anything; None: they may."""
        self._thread = threading.Thread(target=self._remove, name="dvc-ray-retention", daemon=True)
        self._thread.start()

    def _remove(self) -> None:
        try:
            try:
                remove_old(self._store, self._living)
            except DeniedError:
                self._rule = expires(self._store, f"{FOLDER}/runs/", KEEP_DAYS)
        except (StorageError, RuntimeError):  # the next run tries again; the latter when this process ends
            return

    def end(self) -> str:
        """Wait a little; what the user is to do, if anything: to be said once."""
        self._thread.join(_WITHIN)
        if self._rule in {None, RuleState.FOUND}:
            return ""
        unread = " Whether it has one could not be read." if self._rule is RuleState.UNREADABLE else ""
        return (
            f"Logs of old runs stay in the remote {self._store.url}: its server denies to remove them. Have the bucket"
            f" do it by a lifecycle rule for the prefix of '{FOLDER}/'; docs/how-to/remote.md has one.{unread}"
        )
