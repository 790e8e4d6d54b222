"""Readers of switches, numbers, sizes, durations and names, for the settings of a run and of a stage.

All readers raise ValueError for a value that they do not take; the caller knows the key and says what is expected. Each
number has a range: a value beyond it is a mistake, and would cause an arithmetic error further down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_UNITS: Final = {"": 1, "B": 1} | {
    unit: factor**power
    for power, letter in enumerate("KMGT", start=1)
    for unit, factor in ((f"{letter}B", 1000), (f"{letter}iB", 1024), (letter, 1024))
}
_PART: Final = r"(\d+(?:\.\d+)?)\s*([smhd])"
"""An amount and its unit in a duration."""
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST: Final = 10**9
"""Largest number of anything that is counted."""
_MOST_BYTES: Final = 1 << 60
_MOST_SECONDS: Final = 10 * 365 * 86400
_LONGEST: Final = 40
"""Most characters of an amount."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The values that a key takes, in words that follow "must be", and the function that reads one."""

    takes: str
    read: Callable[[object], Any]
    may_hold_secrets: bool = False
    """If so, no error shows the value."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A value, and whether it is multiplied by the number of the attempt."""

    value: float
    grows: bool


def growing(reader: Callable[[object], float]) -> Callable[[object], Amount]:
    """Let a reader take ``<value> * attempt`` as well; this is the whole grammar, nothing is evaluated."""

    def read(value: object) -> Amount:
        short = isinstance(value, str) and len(value) <= 2 * _LONGEST
        match = re.fullmatch(r"(.*?)\s*\*\s*attempt\s*", value) if short and isinstance(value, str) else None
        if not match:
            return Amount(reader(value), grows=False)
        plain = re.fullmatch(r"\s*(\d+(?:\.\d+)?)", match[1])
        # To YAML, the whole is a text: the number in it is converted for readers that take only numbers.
        return Amount(reader(_figure(plain[1]) if plain else match[1]), grows=True)

    return read


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004  as all readers
    return value


def number(value: object) -> float:
    """A number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST:
        raise ValueError(value)
    return value


def whole(value: object, most: int = _MOST) -> int:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(value)
    return value


def positive(value: object) -> int:
    """A whole number of at least 1."""
    if not whole(value):
        raise ValueError(value)
    return whole(value)


def size(value: object) -> int:
    """Bytes: a number, or a text such as ``2GiB``."""
    if not isinstance(value, str):
        return whole(value, _MOST_BYTES)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if len(value) > _LONGEST or not match or match[2] not in _UNITS:
        raise ValueError(value)
    return whole(int(float(match[1]) * _UNITS[match[2]]), _MOST_BYTES)


def duration(value: object) -> float:
    """Seconds above 0: a number, or a text such as ``1h30m``."""
    if not isinstance(value, str):
        seconds = number(value)
    else:
        if len(value) > _LONGEST or not re.fullmatch(rf"(?:\s*{_PART})+\s*", value):
            raise ValueError(value)
        parts = re.findall(_PART, value)
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(value)
    return seconds


def strings(value: object) -> tuple[str, ...]:
    """A text or several."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(value)
    return tuple(value)


def name(value: object) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value.strip()


def names(value: object) -> tuple[str, ...]:
    """A name or several, each once."""
    return tuple(dict.fromkeys(map(name, strings(value))))


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping with texts as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(value)
    return value


def is_variable(name: str) -> bool:
    """Whether the system takes a name for an environment variable."""
    return bool(name) and "=" not in name and "\0" not in name


def _figure(text: str) -> float:
    return float(text) if "." in text else int(text)
