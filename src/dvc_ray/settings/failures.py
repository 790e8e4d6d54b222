"""How readers refuse a value, and the parts that their messages share."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 80
"""Characters of a value that are shown."""


class RefusedError(ValueError):
    """A value is refused with a message of its own.

    Args:
        what: What is wrong; follows the name of the stage or setting.
        hint: What would be right.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)

    @property
    def what(self) -> str:
        """What is wrong."""
        return str(self.args[0])

    @property
    def hint(self) -> str:
        """What would be right."""
        return str(self.args[1])


def nearest(word: str, words: Iterable[str], *, most: int = 1, any_case: bool = False) -> list[str]:
    """Return the words that a user may have meant, the likeliest first.

    Args:
        word: What the user wrote.
        words: The known words.
        most: How many to return at most.
        any_case: Whether to ignore case.
    """
    known = {each.upper() if any_case else each: each for each in words}
    return [known[each] for each in difflib.get_close_matches(word.upper() if any_case else word, known, n=most)]


def did_you_mean(word: str, words: Iterable[str], *, any_case: bool = False) -> str:
    """Ask whether the user meant the nearest of some words, as text after a sentence; empty if none is near."""
    return "".join(f" Did you mean '{each}'?" for each in nearest(word, words, any_case=any_case))


def unknown_key(key: object, where: str, allowed: Iterable[str]) -> RefusedError:
    """Make the error for an unknown key, which names the nearest known one."""
    allowed = list(allowed)
    what = f"unknown key '{key}' in '{where}'.{did_you_mean(str(key), allowed)}"
    return RefusedError(what, f"Allowed keys: {', '.join(allowed)}.")


def wrong_value(key: str, expected: str, value: object) -> RefusedError:
    """Make the error for a value of a kind that the key does not take."""
    return RefusedError(
        f"'{key}' must be {expected}, not {kind(value)} {shown(value)}", "Change it under 'meta: ray:' in dvc.yaml."
    )


def shown(value: object) -> str:
    """Return a value as text for a message; a long one is cut."""
    with contextlib.suppress(ValueError):  # Python does not convert an int of more than 4,300 digits
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return "of thousands of digits"


def kind(value: object) -> str:
    """Return the kind of a YAML value, in words that the value can follow."""
    names = {
        "dict": "a mapping",
        "list": "a list",
        "str": "the string",
        "int": "the number",
        "float": "the number",
    }
    return names.get(type(value).__name__, "a value such as" if value is not None else "empty:")
