"""DVCLive's changes to dvc.yaml, as an edit that can be applied again to another version of the file.

A plain ``Live()`` rewrites the dvc.yaml of its stage at each step: in the top-level sections ``params``, ``metrics``,
``plots`` and ``artifacts`` it drops the entries of its own directory and appends the new ones
(``dvclive.dvc.update_dvcyaml``, 3.48 to 3.49). Stages that run at the same time each rewrite the version they were
given. In a serial run, each rewrites the version that the stage before it in the plan has left. This module makes the
file of the serial run, in whatever order the stages finish.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dvc_ray.repo.write.dvc_yaml_entries import (
    ARTIFACTS,
    _keeps,
    artifacts_of,
    entries_of,
    entries_without,
    folders_of,
    in_order,
    mapping_of,
    moved_sections,
    new_entries,
)

_NAME: Final = "dvc.yaml"
_AT_LEAST: Final = 2
"""How often DVCLive rewrites a dvc.yaml at least: at a step, and at the end."""
_MANY: Final = 30
"""More edits than this are always applied together; comments in DVCLive's sections may then stay longer."""
_SAME_AGAIN: Final = 200
"""Dumps after which a number whose last digits change with each of DVC's dumps is taken for stable."""

Merge = Callable[[bytes, bytes, bytes], bytes | None]
"""Merges two versions by lines: ours, their common base, theirs; None if they conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A dvc.yaml that a command has left."""

    place: int
    """Place of its stage in the plan."""
    who: str
    """Its stage."""
    base: bytes | None
    """The version that the command began with; None if there was no file, or the version is not known any more."""
    result: bytes
    touched: Callable[[str], bool] = field(repr=False)
    """Whether the stage has written a path, relative to the folder of the dvc.yaml."""
    known: bool = True
    """Whether `base` is the version that the command began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two stages' versions that do not merge."""

    winner: str
    """The stage whose version was taken."""
    loser: str
    """The stage before it; empty if somebody else wrote the version."""


class DvcYaml:
    """One dvc.yaml during a run.

    Args:
        merge: Merges changes that are not DVCLive's.
    """

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._edits: list[_Edit] = []
        self._texts: dict[int, bytes | None] = {}
        """The file after the first edits, by the number of edits, as far as it was computed."""

    def take(self, now: bytes | None, written: Written) -> tuple[bytes, tuple[Conflict, ...]]:
        """Compute the new content of the file.

        Args:
            now: Content of the file; None if there is no file.
            written: The version that a stage has left.

        Returns:
            The content that a serial run would have left, of all versions taken so far; and the conflicts.
        """
        if not self._edits or now != self._texts[len(self._edits)]:  # somebody else has written: start from that
            self._edits, self._texts = [], {0: now}
        at = sum(other.written.place <= written.place for other in self._edits)
        self._edits.insert(at, _Edit.of(written))
        self._texts = {count: text for count, text in self._texts.items() if count <= at}
        conflicts = tuple(self._make())
        found = self._texts[len(self._edits)]
        assert found is not None  # noqa: S101
        return found, conflicts

    def _make(self) -> Iterator[Conflict]:
        """Apply all edits that are not in a text yet."""
        count = max(self._texts)
        text = self._texts[count]
        while count < len(self._edits):
            edit = self._edits[count]
            together = [] if text == edit.written.base else _together(self._edits[count:])
            at_once = together and (b"#" not in (text or b"") or len(together) > _MANY)
            made = _made_on(text, itertools.chain.from_iterable(together)) if at_once else None
            if made is not None:
                text = made
                count += len(together)
            else:
                text, merged = edit.made_on(text, self._merge)
                if not merged:
                    before = self._edits[count - 1].written.who if count else ""
                    yield Conflict(winner=edit.written.who, loser=before)
                count += 1
            self._texts[count] = text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """The change of a stage to a dvc.yaml."""

    written: Written
    update: _Update | None
    """DVCLive's part of the change; None if there is none."""
    times: int = _AT_LEAST
    """How often DVCLive has applied its part, as far as the result shows."""
    alone: bytes | None = None
    """The base with only DVCLive's part applied; None if it is not known."""

    @classmethod
    def of(cls, written: Written) -> _Edit:
        found = [cls._of(written, update) for update in _Update.of(written)]
        exact = (edit for edit in found if edit.alone == written.result)
        return next(exact, found[0] if found else cls(written=written, update=None))

    @classmethod
    def _of(cls, written: Written, update: _Update) -> _Edit:
        if not written.known:
            return cls(written=written, update=update)
        texts: list[bytes | None] = [_made_on(written.base, [update])]
        while texts[-1] != written.result and texts[-1] not in texts[:-1] and len(texts) < _SAME_AGAIN:
            texts.append(_made_on(texts[-1], [update]))
        times = len(texts)
        if texts[-1] != written.result or _made_on(texts[-1], [update]) == texts[-1]:
            times = max(times, _AT_LEAST)
        return cls(written=written, update=update, times=times, alone=texts[-1])

    def together(self) -> Sequence[_Update]:
        """The updates of the edit, if it is DVCLive's part only; empty for any other edit."""
        is_all = self.alone in {None, self.written.result} and self.times <= _AT_LEAST
        return [self.update] * self.times if self.update is not None and is_all else []

    def made_on(self, text: bytes | None, merge: Merge) -> tuple[bytes, bool]:
        """Apply the edit to another version of the file; also returns whether all of the edit could be applied."""
        theirs = self.written.result
        if self.written.known and text == self.written.base:
            return theirs, True
        base = self.written.base
        if (made := self._updated(text)) is not None:
            text, base = made, self.alone
            if base in {None, theirs}:
                return text, True
        if text is None or text == theirs:
            return theirs, True
        merged = None if base is None else merge(text, base, theirs)
        if merged is None and self.update is not None and _plain(base or b"") == _plain(theirs):
            return text, True  # only the formatting did not merge
        return (theirs, False) if merged is None else (merged, True)

    def _updated(self, text: bytes | None) -> bytes | None:
        """Apply DVCLive's part to another version; None if there is no such part, or the version is not a dvc.yaml."""
        made = None
        for _ in range(self.times if self.update is not None else 0):
            made = text = _made_on(text, [self.update] if self.update else [])
            if made is None:
                break
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """DVCLive's changes to its sections."""

    folders: tuple[str, ...]
    """DVCLive's directories, as DVCLive looks for them in entries; relative to the dvc.yaml."""
    lists: Mapping[str, Sequence[Any]]
    """New entries by section; sections in the order in which they came into the file."""
    artifacts: Mapping[str, Any]
    moved: frozenset[str]
    """Sections that were empty for a while, and so have moved to the end of the file."""

    @classmethod
    def of(cls, written: Written) -> list[_Update]:
        """List possible updates, the likeliest first; none if the sections are unchanged or the file is not YAML."""
        before = {} if written.base is None else _plain(written.base)
        after = _plain(written.result)
        if before is None or after is None:
            return []
        folders = folders_of(before if written.known else None, after, written.touched)
        moved = moved_sections(list(before), list(after)) if written.known else frozenset()
        lists = {
            key: new_entries(folders, entries_of(before, key), entries_of(after, key), known=written.known)
            for key in in_order(before.keys() - moved, after)
        }
        every = mapping_of(after, ARTIFACTS)
        old = artifacts_of(folders, before)
        new = {name: meta for name, meta in every.items() if old.get(name) != meta or not _keeps(folders, meta)}
        if not (folders or new or any(lists.values())):
            return []
        found = cls(folders=folders, lists=lists, artifacts=new, moved=moved)
        return [found, *([] if new == every else [replace(found, artifacts=every)])]

    def apply(self, data: Any) -> bool:
        """Apply the update as DVCLive does; returns whether a section was removed: its comment comes back with it."""
        out = False
        for key in self.lists:
            kept: Any
            if key == ARTIFACTS:
                kept = artifacts_of(self.folders, data)
                made: Any = {**kept, **self.artifacts}
            else:
                kept = entries_without(self.folders, entries_of(data, key))
                made = kept + list(self.lists[key])
            if key in data and (not made or (not kept and key in self.moved)):
                del data[key]
                out = True
            if made:
                data[key] = made
        return out


def _made_on(text: bytes | None, updates: Iterable[_Update]) -> bytes | None:
    """Apply updates one after another to a version of the file; None if that version is not a valid dvc.yaml.

    The file is parsed and dumped once for all updates, because that takes the longest. In a file with comments, the
    result may differ a little from parsing and dumping it for each update.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    try:
        data = parse_yaml_for_update(_decoded(text or b""), _NAME)
    except (DvcException, UnicodeDecodeError):
        return None
    if not isinstance(data, dict):
        return None
    for update in updates:
        if update.apply(data):
            data = parse_yaml_for_update(dumps_yaml(data), _NAME)
    return str(dumps_yaml(data)).encode()


def _together(edits: Sequence[_Edit]) -> list[Sequence[_Update]]:
    """The updates of the first edits, as far as they can be applied together."""
    return list(itertools.takewhile(bool, (edit.together() for edit in edits)))


def _plain(text: bytes) -> dict[str, Any] | None:
    """Parse a file; None if it is not a mapping."""
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        found = parse_yaml(_decoded(text), _NAME)
    except (DvcException, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _decoded(text: bytes) -> str:
    """Decode the content as of a file that is opened in text mode."""
    return text.decode().replace("\r\n", "\n").replace("\r", "\n")
