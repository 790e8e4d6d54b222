"""Writes dvc.lock with entries in DVC's order, whatever the order in which stages finish.

The file is written at each merge, so that a killed run loses nothing. DVC's dumper takes more than a millisecond per
entry; so a file that it has written is kept as the texts of its entries, and only new entries are dumped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc_ray.files import Stamp, atomic_write
from dvc_ray.repo.write.lock_content import _STAGES, Content, Place, SharedValueError, Spliced, Whole


class Locks:
    """The dvc.lock files of one run; the head is their only writer.

    Args:
        order: Place of each stage in the plan, by lock file and name: the order in which a serial run adds entries.
    """

    def __init__(self, order: Mapping[tuple[str, str], int]) -> None:
        self._order = order
        self._old: dict[str, set[str]] = {}
        self._files: dict[str, tuple[Stamp | None, Content]] = {}
        """Content as we wrote it last, with the stamp of the file."""

    def write(self, stages: Sequence[Any]) -> list[str]:
        """Write the entries of finished stages, in one pass per file.

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

        entries = {name: entry for stage in stages for name, entry in to_lockfile(stage).items()}
        content = self._load(path, stages[0].dvcfile)
        self._old.setdefault(path, set(content.names()))
        places = {name: self._place(path, name) for name in entries}
        try:
            modified = content.put(entries, places)
        except SharedValueError:
            content = self._whole(content.text(), path)
            modified = content.put(entries, places)
        self._dump(path, content)
        return modified

    def _place(self, path: str, name: str) -> Place:
        return self._order.get((path, name), len(self._order)), name

    def _load(self, path: str, dvcfile: Any) -> Content:
        if not os.path.exists(path):
            return Spliced(f"schema: '2.0'\n{_STAGES}")
        stamp, content = self._files.get(path, (None, None))
        if content is not None and stamp == Stamp.at(path):
            return content
        text = Path(path).read_text(encoding="utf-8")
        # Only the first time: later the file has more than DVC has read for the plan.
        found = None if content is not None else Spliced.of(text, dvcfile.lockfile_contents)
        return found or self._whole(text, path)

    def _whole(self, text: str, path: str) -> Whole:
        content = Whole(text, path)
        old = self._old.get(path, set(content.names()))
        content.added({name: self._place(path, name) for name in content.names() if name not in old})
        return content

    def _dump(self, path: str, content: Content) -> None:
        """Write a file whole or not at all: a run that is killed must not leave half a dvc.lock.

        If the user has made dvc.lock a link, its target is written, as DVC does.
        """
        target = os.path.realpath(path)
        like = os.stat(target) if os.path.exists(target) else None
        atomic_write(target, content.text().encode(), like=like)
        self._files[path] = (Stamp.at(path), content)
