"""Makes text from a project safe for a terminal, so that it shows what is really there.

Names, commands and paths may hold characters that a terminal obeys, or that change the order in which it shows others.
A plan with them could look like another one. All text passes through this module once, where it is printed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of invisible characters: controls, formats (direction, joiners, tags), bytes not in UTF-8, line ends."""
_SEQUENCE: Final = re.compile(
    "(\x1b\\[[0-9;:]*m)"  # colours
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"  # the cursor, the screen
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # titles, links, the clipboard
    "|\x1b[ -/]*[0-~]?"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_RESET: Final = "\x1b[0m"


def one_line(text: str) -> str:
    """Return a text as a part of a line: invisible characters, line ends included, become Python's escapes."""
    return _shown(text, keep="\t")


def lines(text: str) -> str:
    """Return a text of several lines: as `one_line`, but line ends stay."""
    return _shown(text, keep="\t\n")


def output(line: str) -> str:
    """Return a line that a command has printed: colours stay, all else that a terminal obeys is removed.

    The text before the last carriage return, which a terminal would overwrite, is removed as well.
    """
    if line.isprintable():
        return line
    found = _SEQUENCE.sub(lambda match: match[1] or "", line.rstrip("\r").rpartition("\r")[2])
    return found if "\x1b" not in found or found.endswith((_RESET, "\x1b[m")) else found + _RESET


def dumps(value: object) -> str:
    """Return a value as a line of JSON; letters outside of ASCII stay readable."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(json.dumps(c)[1:-1] if _is_hidden(c) else c for c in text)


def _shown(text: str, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(_escaped(c) if c not in keep and _is_hidden(c) else c for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not in UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]
