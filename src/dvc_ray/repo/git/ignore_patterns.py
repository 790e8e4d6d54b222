"""Patterns of .gitignore files, matched as Git does (dir.c and wildmatch.c of Git 2.47).

dulwich is not used: the releases that DVC allows (0.24 to 1.x) differ from Git, each in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

_SPECIAL: Final = re.compile(rb"[*?\[\\]")
_NEVER: Final = b"(?!)"
_CLASSES: Final = {
    b"alnum": rb"[0-9A-Za-z]",
    b"alpha": rb"[A-Za-z]",
    b"blank": rb"[ \t]",
    b"cntrl": rb"[\x00-\x1f\x7f]",
    b"digit": rb"[0-9]",
    b"graph": rb"[!-~]",
    b"lower": rb"[a-z]",
    b"print": rb"[ -~]",
    b"punct": rb"[!-/:-@\[-`{-~]",
    b"space": rb"[ \t\n\v\f\r]",
    b"upper": rb"[A-Z]",
    b"xdigit": rb"[0-9A-Fa-f]",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a .gitignore."""

    ignores: bool
    """Whether it does not begin with ``!``."""
    folder: bool
    """Whether it matches folders only."""
    whole: bool
    """Whether it matches a path, rather than a name in any folder."""
    expression: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Patterns:
    """The patterns of one file."""

    base: bytes = b""
    """The folder of the file, relative to the work tree and with a slash at its end; empty for the root."""
    patterns: tuple[Pattern, ...] = field(default=(), repr=False)
    """The last pattern first, because the last one that matches decides."""

    def say(self, path: bytes, *, folder: bool) -> bool | None:
        """Whether a path is ignored; None if no pattern matches.

        Args:
            path: Relative to the work tree, under `base`.
            folder: Whether it is a folder, not a link to one.
        """
        inner, name = path[len(self.base) :], path[path.rfind(b"/") + 1 :]
        for pattern in self.patterns:
            if (folder or not pattern.folder) and pattern.expression.fullmatch(inner if pattern.whole else name):
                return pattern.ignores
        return None


def ignored(files: Sequence[Patterns], path: bytes, *, folder: bool) -> bool:
    """Whether pattern files, the one that counts most last, ignore a path; they must ignore none of its parents."""
    for patterns in reversed(files):
        said = patterns.say(path, folder=folder)
        if said is not None:
            return said
    return False


def parse(text: bytes, base: bytes = b"", *, case: bool = True) -> Patterns:
    """Read the text of a file.

    Args:
        text: All of it.
        base: As in `Patterns`.
        case: Whether case matters (``core.ignoreCase``).
    """
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    found = [_pattern(_trimmed(line.removesuffix(b"\r")), case=case) for line in lines if line[:1] not in {b"", b"#"}]
    return Patterns(base, tuple(reversed(found)))


def _trimmed(line: bytes) -> bytes:
    """Remove spaces at the end of a line that have no backslash before them."""
    end, place = None, 0
    while place < len(line):
        if line[place : place + 1] == b" ":
            end = place if end is None else end
        else:
            end = None
            place += line[place : place + 1] == b"\\"
        place += 1
    return line[:end]


def _pattern(line: bytes, *, case: bool) -> Pattern:
    ignores = not line.startswith(b"!")
    text = line if ignores else line[1:]
    folder = text.endswith(b"/")
    text = text[:-1] if folder else text
    whole = b"/" in text
    text = text.removeprefix(b"/")
    special = _SPECIAL.search(text)
    # As in Git: the text before the first wildcard is compared, and the rest is a pattern that begins there.
    plain, rest = (text[: special.start()], text[special.start() :]) if special else (text, b"")
    expression = re.escape(plain) + b"".join(_translated(rest, whole=whole)) if text else _NEVER
    return Pattern(ignores, folder, whole, re.compile(expression, re.DOTALL if case else re.DOTALL | re.IGNORECASE))


def _translated(pattern: bytes, *, whole: bool) -> Iterator[bytes]:
    """Translate a pattern into a regular expression, part by part."""
    place = 0
    while place < len(pattern):
        sign = pattern[place : place + 1]
        if sign == b"*":
            place, part = _stars(pattern, place, whole=whole)
        elif sign == b"[":
            place, part = _set(pattern, place + 1)
        elif sign == b"?":
            place, part = place + 1, b"[^/]"
        elif sign == b"\\":
            place, part = place + 2, re.escape(pattern[place + 1 : place + 2]) or _NEVER
        else:
            place, part = place + 1, re.escape(sign)
        yield part


def _stars(pattern: bytes, place: int, *, whole: bool) -> tuple[int, bytes]:
    """Translate stars; returns where the rest begins, and the expression."""
    end = place
    while pattern[end : end + 1] == b"*":
        end += 1
    alone = pattern[place - 1 : place] in {b"", b"/"} if place else True
    if not whole or end - place == 1 or not alone:
        return end, b"[^/]*"
    if pattern[end : end + 1] == b"/":
        return end + 1, b"(?:.*/)?"
    return end, b".*" if end == len(pattern) or pattern.startswith(b"\\/", end) else b"[^/]*"


def _set(pattern: bytes, place: int) -> tuple[int, bytes]:
    """Translate the set after ``[``; returns as `_stars` does. A set without an end matches nothing."""
    negated = pattern[place : place + 1] in {b"!", b"^"}
    place += negated
    parts: list[bytes] = []
    before, first = b"", True
    while first or pattern[place : place + 1] != b"]":
        first = False
        sign = pattern[place : place + 1]
        named = re.compile(rb"\[:([^\]]*):\]").match(pattern, place)
        following = pattern[place + 1 : place + 2]
        if named:
            parts.append(_CLASSES.get(named[1], _NEVER))
            place, before = named.end(), b""
            if parts[-1] == _NEVER:
                return len(pattern), _NEVER
        elif sign == b"-" and before and following not in {b"", b"]"}:
            place += 1 + (following == b"\\")
            last = pattern[place : place + 1]
            parts += [b"[%b-%b]" % (re.escape(before), re.escape(last))] if before <= last else []
            place, before = place + 1, b""
        else:
            place += sign == b"\\"
            before = pattern[place : place + 1]
            parts.append(re.escape(before))
            place += 1
        if place >= len(pattern):
            return place, _NEVER
    matched = b"(?:%b)" % (b"|".join(parts) or _NEVER)
    return place + 1, b"(?!%b)[^/]" % matched if negated else b"(?!/)%b" % matched
