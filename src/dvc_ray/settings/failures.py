"""How a reader refuses a value when the key alone does not say what is wrong."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 80
"""Characters of a value."""


class RefusedError(ValueError):
    """A value is wrong in a way that has words of its own.

    Args:
        what: What is wrong, to stand after the stage's name.
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
    """Those of some words that a user may have meant, the likeliest first.

    Args:
        word: What the user wrote.
        words: What there is.
        most: How many.
        any_case: Whether small letters are as good as capitals.
    """
    known = {each.upper() if any_case else each: each for each in words}
    return [known[each] for each in difflib.get_close_matches(word.upper() if any_case else word, known, n=most)]


def did_you_mean(word: str, words: Iterable[str], *, any_case: bool = False) -> str:
    """Ask for the nearest of some words, to stand after a sentence; empty if none is near."""
    return "".join(f" Did you mean '{each}'?" for each in nearest(word, words, any_case=any_case))


def unknown_key(key: object, where: str, allowed: Iterable[str]) -> RefusedError:
    """A key that is none, with the nearest one that is."""
    allowed = list(allowed)
    what = f"unknown key '{key}' in '{where}'.{did_you_mean(str(key), allowed)}"
    return RefusedError(what, f"Allowed keys: {', '.join(allowed)}.")


def wrong_value(key: str, expected: str, value: object) -> RefusedError:
    """A value of a kind that the key does not take."""
    return RefusedError(
        f"'{key}' must be {expected}, not {kind(value)} {shown(value)}", "Change it under 'meta: ray:' in dvc.yaml."
    )


def shown(value: object) -> str:
    """A value as it can be shown: what is long is cut."""
    with contextlib.suppress(ValueError):  # Python makes no text of an int with more than 4,300 digits
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return "of thousands of digits"


def kind(value: object) -> str:
    """The kind of a YAML value, in words that a value can follow."""
    names = {
        "dict": "a mapping",
        "list": "a list",
        "str": "the string",
        "int": "the number",
        "float": "the number",
    }
    return names.get(type(value).__name__, "a value such as" if value is not None else "empty:")
