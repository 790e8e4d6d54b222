"""What DVCLive writes into dvc.yaml, as an edit that can be made once more on another version of the file.

A plain ``Live()`` rewrites the dvc.yaml of its stage at each step: of the top-level sections ``params``, ``metrics``,
``plots`` and ``artifacts`` it drops the entries of its own directory and puts the new ones last
(``dvclive.dvc.update_dvcyaml``, 3.48 to 3.49). Stages that run at the same time each do so on the version they were
given. In a serial run each does so on what the stage before it in the plan has left; that is what is made of it here,
in whatever order they finish.
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
"""Times that DVCLive rewrites a dvc.yaml: at a step, and at the end."""
_MANY: Final = 30
"""Edits from which on they are made at once in any case: comments of DVCLive's sections may stay longer, then."""
_SAME_AGAIN: Final = 200
"""Dumps after which a number that each of DVC's dumps changes in its last digits is taken to stand still."""

Merge = Callable[[bytes, bytes, bytes], bytes | None]
"""Merges two versions by lines: ours, what both began with, theirs; None if they conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A dvc.yaml that a command has left."""

    place: int
    """Of its stage in the plan."""
    who: str
    """Its stage."""
    base: bytes | None
    """What it began with; None: there was no file, or it is not known any more."""
    result: bytes
    touched: Callable[[str], bool] = field(repr=False)
    """Whether the stage has written a path, relative to the folder of the dvc.yaml."""
    known: bool = True
    """Whether `base` is what it began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two stages' versions that do not merge."""

    winner: str
    """The stage whose version was taken."""
    loser: str
    """The stage before it; empty: somebody else."""


class DvcYaml:
    """One dvc.yaml during a run.

    Args:
        merge: Merges what is not DVCLive's.
    """

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._edits: list[_Edit] = []
        self._texts: dict[int, bytes | None] = {}
        """What so many edits have made of the file, as far as that was looked at."""

    def take(self, now: bytes | None, written: Written) -> tuple[bytes, tuple[Conflict, ...]]:
        """Say what the file is to be.

        Args:
            now: The file; None: there is none.
            written: What a stage has made of the version it was given.

        Returns:
            What a serial run would have left of all that were taken; and what of it does not merge.
        """
        if not self._edits or now != self._texts[len(self._edits)]:  # somebody else has written: before all to come
            self._edits, self._texts = [], {0: now}
        at = sum(other.written.place <= written.place for other in self._edits)
        self._edits.insert(at, _Edit.of(written))
        self._texts = {count: text for count, text in self._texts.items() if count <= at}
        conflicts = tuple(self._make())
        found = self._texts[len(self._edits)]
        assert found is not None  # noqa: S101
        return found, conflicts

    def _make(self) -> Iterator[Conflict]:
        """Make all edits that are not in a text yet."""
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
    """What a stage has done to a dvc.yaml."""

    written: Written
    update: _Update | None
    """DVCLive's part; None: it has none."""
    times: int = _AT_LEAST
    """How often DVCLive has made it, as far as that shows."""
    alone: bytes | None = None
    """What DVCLive's part makes of the base; None: it is not known."""

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
        """What it is, if it is nothing but DVCLive's part."""
        is_all = self.alone in {None, self.written.result} and self.times <= _AT_LEAST
        return [self.update] * self.times if self.update is not None and is_all else []

    def made_on(self, text: bytes | None, merge: Merge) -> tuple[bytes, bool]:
        """Make it on another version of the file; also says whether all of it could be."""
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
            return text, True  # it was but the look of the file that did not merge
        return (theirs, False) if merged is None else (merged, True)

    def _updated(self, text: bytes | None) -> bytes | None:
        """DVCLive's part of it made on another version; None if it has none, or that version is no dvc.yaml."""
        made = None
        for _ in range(self.times if self.update is not None else 0):
            made = text = _made_on(text, [self.update] if self.update else [])
            if made is None:
                break
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """What DVCLive has made of its sections."""

    folders: tuple[str, ...]
    """DVCLive's directories as it looks for them in entries, relative to the dvc.yaml."""
    lists: Mapping[str, Sequence[Any]]
    """New entries by section; sections in the order in which they came into the file."""
    artifacts: Mapping[str, Any]
    moved: frozenset[str]
    """Sections that were empty for a while, so that they came to the end of the file."""

    @classmethod
    def of(cls, written: Written) -> list[_Update]:
        """Say what it may be, the likeliest first; nothing, if the sections are as they were or the file is no YAML."""
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
        """Make it, as DVCLive would; also says whether it took a section out: a comment at one comes back with it."""
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
    """Make updates one after another on a version of the file; None if it is no dvc.yaml, as somebody left it.

    The file is parsed and dumped once, which takes longer than all else. Where there are comments in it, that is not
    quite the same as doing so for each.
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
    """Those of the first edits that can be made at once."""
    return list(itertools.takewhile(bool, (edit.together() for edit in edits)))


def _plain(text: bytes) -> dict[str, Any] | None:
    """Parse a file; None if it is no mapping."""
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        found = parse_yaml(_decoded(text), _NAME)
    except (DvcException, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _decoded(text: bytes) -> str:
    """As a file that is opened for text."""
    return text.decode().replace("\r\n", "\n").replace("\r", "\n")
