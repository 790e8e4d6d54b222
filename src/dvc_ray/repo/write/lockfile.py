"""Writing dvc.lock: entries in DVC's order, whatever the order in which stages finish.

The file is written at each merge, so that a killed run loses nothing. DVC's dumper costs more than a millisecond an
entry; a file that it has written is therefore kept as the text of each entry, and only what is new is dumped.
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, Protocol

from dvc_ray.files import Stamp, atomic_write

_ANCHOR: Final = re.compile(r"[&*]id\d")
"""A value that stands in an entry twice: its name is a number counted through the whole file."""
_COMMENT: Final = re.compile(r"(^|\s)#|^\n", re.MULTILINE)
_EXPONENT: Final = re.compile(r"\d\.\d+e[-+]?\d")
"""A number that each of DVC's dumps may change in its last digits (ruamel.yaml's ``ScalarFloat``, 0.19.1)."""
_STAGES: Final = "stages:\n"
_DRIFT_LIMIT: Final = 1000
"""Dumps after which such a number is taken to stand still; most do after one or two."""

_Place = tuple[int, str]


class Locks:
    """The dvc.lock files of one run; the head is their only writer.

    Args:
        order: Place of each stage in the plan, by lock file and name: the order in which a serial run adds entries.
    """

    def __init__(self, order: Mapping[tuple[str, str], int]) -> None:
        self._order = order
        self._old: dict[str, set[str]] = {}
        self._files: dict[str, tuple[Stamp | None, _Content]] = {}
        """Content as we wrote it last, with the stamp of the file."""

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

        entries = {name: entry for stage in stages for name, entry in to_lockfile(stage).items()}
        content = self._load(path, stages[0].dvcfile)
        self._old.setdefault(path, set(content.names()))
        places = {name: self._place(path, name) for name in entries}
        try:
            modified = content.put(entries, places)
        except _SharedValueError:
            content = self._whole(content.text(), path)
            modified = content.put(entries, places)
        self._dump(path, content)
        return modified

    def _place(self, path: str, name: str) -> _Place:
        return self._order.get((path, name), len(self._order)), name

    def _load(self, path: str, dvcfile: Any) -> _Content:
        if not os.path.exists(path):
            return _Spliced(f"schema: '2.0'\n{_STAGES}")
        stamp, content = self._files.get(path, (None, None))
        if content is not None and stamp == Stamp.at(path):
            return content
        text = Path(path).read_text(encoding="utf-8")
        # Only at first: later the file holds more than what DVC has read for the plan.
        found = None if content is not None else _Spliced.of(text, dvcfile.lockfile_contents)
        return found or self._whole(text, path)

    def _whole(self, text: str, path: str) -> _Whole:
        content = _Whole(text, path)
        old = self._old.get(path, set(content.names()))
        content.added({name: self._place(path, name) for name in content.names() if name not in old})
        return content

    def _dump(self, path: str, content: _Content) -> None:
        """Write a file whole or not at all: a run that is killed must not leave half a dvc.lock.

        Where the user has made a link of it, what that leads to is written, as DVC does.
        """
        target = os.path.realpath(path)
        like = os.stat(target) if os.path.exists(target) else None
        atomic_write(target, content.text().encode(), like=like)
        self._files[path] = (Stamp.at(path), content)


class _Content(Protocol):
    """Content of a dvc.lock."""

    def names(self) -> Sequence[str]:
        """Names of its entries, in order."""

    def put(self, entries: Mapping[str, Any], places: Mapping[str, _Place]) -> bool:
        """Put entries of stages: in place of the old ones, or behind all that was there when the run began.

        Args:
            entries: Entries by name.
            places: Of each, its place among those that were not there.

        Returns:
            Whether one differs from what was there.
        """

    def text(self) -> str:
        """The file."""


class _SharedValueError(Exception):
    """An entry needs a YAML anchor: it cannot be dumped by itself."""


class _Spliced:
    """A file as DVC's dumper writes it, as the texts of its entries.

    DVC dumps the whole file for each stage that has run, in the order of the plan, and some numbers change each time
    (`_EXPONENT`): of an entry the text counts that has been dumped as often as stages after its own have run.

    Args:
        head: All before the first entry.
        values: Its entries, by name.
        texts: Of each, its text after one dump, two, …, until it stays the same.
        tail: All behind the last entry.
    """

    def __init__(
        self,
        head: str,
        values: Mapping[str, Any] | None = None,
        texts: Mapping[str, Sequence[str]] | None = None,
        tail: str = "",
    ) -> None:
        self._head = head
        self._tail = tail
        self._values = dict(values or {})
        self._texts = dict(texts or {})
        self._old = list(self._texts)
        self._new: list[_Place] = []
        self._run: dict[str, _Place] = {}
        self._dumps: list[_Place] = []
        """The same, sorted."""

    @classmethod
    def of(cls, text: str, data: Mapping[str, Any]) -> _Spliced | None:
        """Take a file apart.

        Args:
            text: The file.
            data: What DVC has read from it.

        Returns:
            None if the file is not what DVC's dumper makes of that: comments, other spacing, an older schema.
        """
        found = cls._of(text, data)
        if found is None and not _COMMENT.search(text):
            # Values that know how they were written; they would also take comments along, which belong to no entry.
            from dvc.utils.serialize import parse_yaml_for_update

            return cls._of(text, parse_yaml_for_update(text, "dvc.lock"))
        return found

    @classmethod
    def _of(cls, text: str, data: Mapping[str, Any]) -> _Spliced | None:
        stages = data.get("stages")
        if not stages or not isinstance(stages, dict):
            return None
        keys = list(data)
        place = keys.index("stages")
        head = _dumped({key: data[key] for key in keys[:place]}) + _STAGES
        tail = _dumped({key: data[key] for key in keys[place + 1 :]})
        if not (text.startswith(head) and text.endswith(tail)):
            return None
        try:
            texts = {name: _texts(name, value) for name, value in stages.items()}
        except _SharedValueError:
            return None
        found = cls(head, stages, texts, tail)
        return found if found.text() == text else None

    def names(self) -> Sequence[str]:
        return [*self._old, *(name for _, name in self._new)]

    def put(self, entries: Mapping[str, Any], places: Mapping[str, _Place]) -> bool:
        texts = {name: _texts(name, value) for name, value in entries.items()}  # before anything is changed
        modified = any(self._values.get(name, {}) != value for name, value in entries.items())
        for name, place in places.items():
            if name not in self._texts:
                bisect.insort(self._new, place)
            if name not in self._run:
                bisect.insort(self._dumps, place)
        self._run.update(places)
        self._values.update(entries)
        self._texts.update(texts)
        return modified

    def text(self) -> str:
        if not self._texts:
            return ""
        return "".join([self._head, *map(self._text, self.names()), self._tail])

    def _text(self, name: str) -> str:
        texts = self._texts[name]
        if len(texts) == 1:
            return texts[0]
        place = self._run.get(name)
        more = len(self._dumps) - (bisect.bisect_right(self._dumps, place) if place else 0)
        return texts[min(more, len(texts) - 1)]


class _Whole:
    """Any other file: parsed with its comments and dumped whole, as DVC does it.

    Args:
        text: The file.
        path: Its path, for errors.
    """

    def __init__(self, text: str, path: str) -> None:
        self._found = text
        self._path = path
        self._data = self._parsed(text)
        self._places: dict[str, _Place] = {}
        self._run: dict[str, tuple[_Place, Any]] = {}

    def added(self, places: Mapping[str, _Place]) -> None:
        """Say which entries the run has added before, and the place of each among them."""
        self._places.update(places)

    def names(self) -> Sequence[str]:
        return list(self._data.get("stages") or {})

    def put(self, entries: Mapping[str, Any], places: Mapping[str, _Place]) -> bool:
        stages = self._data.get("stages", {})
        modified = any(stages.get(name, {}) != value for name, value in entries.items())
        self.added({name: place for name, place in places.items() if name not in stages})
        self._run.update({name: (places[name], value) for name, value in entries.items()})
        self._put(self._data, entries)
        return modified

    def text(self) -> str:
        text = _dumped(self._data)
        if not _EXPONENT.search(text):
            return text
        text = self._found
        for name, (_, value) in sorted(self._run.items(), key=lambda item: item[1][0]):  # each dump may change numbers
            data = self._parsed(text)
            self._put(data, {name: value})
            text = _dumped(data)
        return text

    def _parsed(self, text: str) -> Any:
        from dvc.utils.serialize import parse_yaml_for_update

        return parse_yaml_for_update(text, self._path) or {}

    def _put(self, data: Any, entries: Mapping[str, Any]) -> None:
        if not data:
            data.update({"schema": "2.0"})
        stages = data["stages"] = data.get("stages", {})
        stages.update({name: deepcopy(value) for name, value in entries.items()})  # no value shared between entries
        new = [name for name in stages if name in self._places]
        ordered = sorted(new, key=self._places.__getitem__)
        if new != ordered:
            for name in ordered:
                stages[name] = stages.pop(name)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """Dump one entry as it stands in the file; then again as often as that changes it.

    Raises:
        _SharedValueError: It needs an anchor.
    """
    from dvc.utils.serialize import parse_yaml_for_update

    texts = [_dumped({"stages": {name: value}})]
    if _ANCHOR.search(texts[0]):
        raise _SharedValueError
    while _EXPONENT.search(texts[-1]) and len(texts) < _DRIFT_LIMIT:
        again = _dumped(parse_yaml_for_update(texts[-1], "dvc.lock"))
        if again == texts[-1]:
            break
        texts.append(again)
    return tuple(text.removeprefix(_STAGES) for text in texts)


def _dumped(data: Any) -> str:
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml(data)) if data else ""
