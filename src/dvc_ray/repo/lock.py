"""Writing dvc.lock: entries in DVC's order, whatever the order in which stages finish."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Locks:
    """The dvc.lock files of one run; the head is their only writer.

    Args:
        order: Place of each stage in the plan, by lock file and name: the order in which a serial run adds entries.
    """

    def __init__(self, order: Mapping[tuple[str, str], int]) -> None:
        self._order = order
        self._old: dict[str, set[str]] = {}
        self._files: dict[str, tuple[tuple[int, int, int], Any]] = {}
        """Content as we wrote it last, with the stamp of the file: parsing YAML is most of the cost of a merge."""

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

        data = self._load(path)
        if not data:
            data.update({"schema": "2.0"})
        entries = data["stages"] = data.get("stages", {})
        old = self._old.setdefault(path, set(entries))
        modified = False
        for stage in stages:
            entry = to_lockfile(stage)
            modified = modified or entries.get(stage.name, {}) != entry[stage.name]
            entries.update(entry)
        self._sort_new(path, entries, old)
        self._dump(path, data)
        return modified

    def _load(self, path: str) -> Any:
        from dvc.utils.serialize import parse_yaml_for_update

        if not os.path.exists(path):
            return {}
        stamp, data = self._files.get(path, (None, None))
        if stamp != _stamp(path):
            data = parse_yaml_for_update(Path(path).read_text(encoding="utf-8"), path) or {}
        return data

    def _dump(self, path: str, data: Any) -> None:
        """Write a file whole or not at all: a run that is killed must not leave half a dvc.lock."""
        from dvc.utils.serialize import dump_yaml

        target = os.path.realpath(path)
        temporary = f"{target}.{os.getpid()}.tmp"
        dump_yaml(temporary, data)
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        self._files[path] = (_stamp(path), data)

    def _sort_new(self, path: str, entries: Any, old: set[str]) -> None:
        new = [name for name in entries if name not in old]
        ordered = sorted(new, key=lambda name: self._order.get((path, name), len(self._order)))
        if new != ordered:
            for name in ordered:
                entries[name] = entries.pop(name)


def _stamp(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino
