"""DVC's run cache, usable while other processes write to it: workers of this run, other runs, DVC itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dvc.stage.cache import StageCache, _get_stage_hash

_ATTEMPTS: Final = 3


class SharedRunCache(StageCache):  # type: ignore[misc]
    """Replaces ``Repo.stage_cache`` (3.67.1), which takes a file that another process is still writing for an entry.

    That file, ``.<random>.tmp``, is the newest in its folder. Either it is gone when DVC asks for its mtime, or it is
    incomplete when DVC reads it, and DVC removes it as damaged.
    """

    def entries(self, key: str) -> list[str]:
        """Names of a key's entries, the newest first."""
        found = sorted(self._dated(key), reverse=True)
        return [name for _, name in found]

    def _dated(self, key: str) -> Iterator[tuple[float, str]]:
        folder = self._get_cache_dir(key)
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(".tmp"):
                continue
            try:
                yield os.path.getmtime(os.path.join(folder, name)), name
            except FileNotFoundError:  # removed meanwhile
                continue

    def _load(self, stage: Any) -> Mapping[str, Any] | None:
        key = _get_stage_hash(stage)
        names = self.entries(key) if key else []
        return self._load_cache(key, names[0]) if names else None

    def save(self, stage: Any) -> None:
        """Save as DVC does, and try again if another process has removed DVC's file or the folder made for the file."""
        for last in range(_ATTEMPTS - 1, -1, -1):
            try:
                super().save(stage)
            except (FileNotFoundError, AssertionError):
                if not last:
                    raise
            else:
                return
