"""Writing dvc.lock: entries in DVC's order, whatever the order in which stages finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Locks:
    """The dvc.lock files of one run; the head is their only writer.

    Args:
        order: Place of each stage in the plan, by lock file and name: the order in which a serial run adds entries.
    """

    def __init__(self, order: Mapping[tuple[str, str], int]) -> None:
        self._order = order
        self._old: dict[str, set[str]] = {}

    def write(self, stages: Sequence[Any]) -> list[str]:
        """Write the entries of finished stages, one pass a file.

        As ``Lockfile.dump_stages`` (dvc.dvcfile, 3.67.1): entries that were there keep their place, new ones follow.

        Returns:
            The files that have changed, relative to the working directory.
        """
        by_file: dict[str, list[Any]] = {}
        for stage in stages:
            by_file.setdefault(stage.dvcfile._lockfile.path, []).append(stage)
        return [group[0].dvcfile._lockfile.relpath for path, group in by_file.items() if self._write_one(path, group)]

    def _write_one(self, path: str, stages: Sequence[Any]) -> bool:
        from dvc.stage.serialize import to_lockfile
        from dvc.utils.serialize import modify_yaml

        modified = False
        with modify_yaml(path, fs=stages[0].repo.fs) as data:
            if not data:
                data.update({"schema": "2.0"})
            entries = data["stages"] = data.get("stages", {})
            old = self._old.setdefault(path, set(entries))
            for stage in stages:
                entry = to_lockfile(stage)
                modified = modified or entries.get(stage.name, {}) != entry[stage.name]
                entries.update(entry)
            self._sort_new(path, entries, old)
        return modified

    def _sort_new(self, path: str, entries: Any, old: set[str]) -> None:
        new = [name for name in entries if name not in old]
        ordered = sorted(new, key=lambda name: self._order.get((path, name), len(self._order)))
        if new != ordered:
            for name in ordered:
                entries[name] = entries.pop(name)
