"""Removing logs of old runs from the remote, during a run."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Final

from dvc_ray.errors import DeniedError, StorageError
from dvc_ray.runs.retention import KEEP_DAYS, remove_old
from dvc_ray.storage import FOLDER, Objects
from dvc_ray.storage.lifecycle import RuleState, expires

_WITHIN: Final = 5.0
"""Seconds that a finished run waits for the removal; the next run removes the rest."""


class Retention:
    """Removes old logs in a thread; no run fails because of it.

    Args:
        store: The remote.
        living: Ids of runs that are alive.
    """

    def __init__(self, store: Objects, living: Collection[str]) -> None:
        self._store = store
        self._living = living
        self._rule: RuleState | None = None
        """The bucket's lifecycle rule, if we are denied the removal; None: we are not."""
        self._thread = threading.Thread(target=self._remove, name="dvc-ray-retention", daemon=True)
        self._thread.start()

    def _remove(self) -> None:
        try:
            try:
                remove_old(self._store, self._living)
            except DeniedError:
                self._rule = expires(self._store, f"{FOLDER}/runs/", KEEP_DAYS)
        except (StorageError, RuntimeError):  # the next run tries again; RuntimeError when this process ends
            return

    def end(self) -> str:
        """Wait a little; returns what to tell the user, once, if anything."""
        self._thread.join(_WITHIN)
        if self._rule in {None, RuleState.FOUND}:
            return ""
        unread = " Whether it has one could not be read." if self._rule is RuleState.UNREADABLE else ""
        return (
            f"Logs of old runs stay in the remote {self._store.url}: its server denies to remove them. Have the bucket"
            f" do it by a lifecycle rule for the prefix of '{FOLDER}/'; docs/how-to/remote.md has one.{unread}"
        )
