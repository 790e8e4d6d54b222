"""The text of a dvc.lock: spliced where that is certain to be right, else dumped as a whole."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, Protocol

_ANCHOR: Final = re.compile(r"[&*]id\d")
"""The YAML anchor of a value that stands in an entry twice: anchors are numbered through the whole file."""


_COMMENT: Final = re.compile(r"(^|\s)#|^\n", re.MULTILINE)


_EXPONENT: Final = re.compile(r"\d\.\d+e[-+]?\d")
"""A number that each of DVC's dumps may change in its last digits (ruamel.yaml's ``ScalarFloat``, 0.19.1)."""


_STAGES: Final = "stages:\n"


_DRIFT_LIMIT: Final = 1000
"""Dumps after which such a number is taken for stable; most are after one or two."""


Place = tuple[int, str]


class Content(Protocol):
    """Content of a dvc.lock."""

    def names(self) -> Sequence[str]:
        """Names of its entries, in order."""

    def put(self, entries: Mapping[str, Any], places: Mapping[str, Place]) -> bool:
        """Put entries of stages in place of the old ones, or behind all entries that were there when the run began.

        Args:
            entries: Entries by name.
            places: The place of each entry among those that were not there.

        Returns:
            Whether an entry differs from the old one.
        """

    def text(self) -> str:
        """The file."""


class SharedValueError(Exception):
    """An entry needs a YAML anchor: it cannot be dumped by itself."""


class Spliced:
    """A file as DVC's dumper writes it, kept as the texts of its entries.

    DVC dumps the whole file for each stage that has run, in plan order, and some numbers change each time
    (`_EXPONENT`). So the text of an entry is the one after as many further dumps as stages after its own have run.

    Args:
        head: All before the first entry.
        values: Its entries, by name.
        texts: The texts of each entry after one dump, two, …, until the text stays the same.
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
        self._new: list[Place] = []
        self._run: dict[str, Place] = {}
        self._dumps: list[Place] = []
        """The places in `_run`, sorted."""

    @classmethod
    def of(cls, text: str, data: Mapping[str, Any]) -> Spliced | None:
        """Split a file into its entries.

        Args:
            text: The file.
            data: The file as DVC has parsed it.

        Returns:
            None if DVC's dumper would write `data` in another way: comments, other spacing, an older schema.
        """
        found = cls._of(text, data)
        if found is None and not _COMMENT.search(text):
            # Parsed this way, values know how they were written. Comments would be kept, too, but belong to no entry.
            from dvc.utils.serialize import parse_yaml_for_update

            return cls._of(text, parse_yaml_for_update(text, "dvc.lock"))
        return found

    @classmethod
    def _of(cls, text: str, data: Mapping[str, Any]) -> Spliced | None:
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
        except SharedValueError:
            return None
        found = cls(head, stages, texts, tail)
        return found if found.text() == text else None

    def names(self) -> Sequence[str]:
        """Names of its entries."""
        return [*self._old, *(name for _, name in self._new)]

    def put(self, entries: Mapping[str, Any], places: Mapping[str, Place]) -> bool:
        """Put entries of stages; returns whether that changes anything."""
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
        """The text of the file."""
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


class Whole:
    """Any other file: parsed with its comments and dumped as a whole, as DVC does.

    Args:
        text: The file.
        path: Its path, for errors.
    """

    def __init__(self, text: str, path: str) -> None:
        self._found = text
        self._path = path
        self._data = self._parsed(text)
        self._places: dict[str, Place] = {}
        self._run: dict[str, tuple[Place, Any]] = {}

    def added(self, places: Mapping[str, Place]) -> None:
        """Note the entries that the run has added before, and the place of each among them."""
        self._places.update(places)

    def names(self) -> Sequence[str]:
        """Names of its entries."""
        return list(self._data.get("stages") or {})

    def put(self, entries: Mapping[str, Any], places: Mapping[str, Place]) -> bool:
        """Put entries of stages; returns whether that changes anything."""
        stages = self._data.get("stages", {})
        modified = any(stages.get(name, {}) != value for name, value in entries.items())
        self.added({name: place for name, place in places.items() if name not in stages})
        self._run.update({name: (places[name], value) for name, value in entries.items()})
        self._put(self._data, entries)
        return modified

    def text(self) -> str:
        """The text of the file."""
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
    """Dump one entry as it stands in the file; then again, as long as a dump changes it.

    Raises:
        SharedValueError: The entry needs an anchor.
    """
    from dvc.utils.serialize import parse_yaml_for_update

    texts = [_dumped({"stages": {name: value}})]
    if _ANCHOR.search(texts[0]):
        raise SharedValueError
    while _EXPONENT.search(texts[-1]) and len(texts) < _DRIFT_LIMIT:
        again = _dumped(parse_yaml_for_update(texts[-1], "dvc.lock"))
        if again == texts[-1]:
            break
        texts.append(again)
    return tuple(text.removeprefix(_STAGES) for text in texts)


def _dumped(data: Any) -> str:
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml(data)) if data else ""
