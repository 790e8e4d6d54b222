"""Masks the values of secrets in the output of commands, before anything else gets that output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

SHORTEST: Final = 4
"""Characters of the shortest value that is masked: a ``1`` or a ``no`` would blank out half of any output."""
_LINE: Final = 8
"""The same for a line of a value with several lines, which are masked one by one, as programs print them."""
_STARS: Final = b"***"
_HELD: Final = 1 << 16
"""Most bytes that are held back; only an endless output that consists of a secret has more."""


@dataclass(frozen=True, slots=True)
class Mask:
    """The values to mask.

    Args:
        forms: The forms in which the values may be printed, the longest first.
    """

    forms: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, values: Iterable[str]) -> Mask:
        """Make a mask of some values; values that are too short are not masked (`SHORTEST`)."""
        forms = {form.encode(errors="surrogateescape") for value in values for form in _forms(value)}
        return cls(tuple(sorted(forms, key=lambda form: (-len(form), form))))

    def __bool__(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self.forms)

    def text(self, text: str) -> str:
        """Mask a text."""
        if not self.forms:
            return text
        data = text.encode(errors="surrogateescape")
        return _replaced(data, list(self._spans(data))).decode(errors="surrogateescape")

    def begin(self, data: bytes) -> int:
        """Return where a possible secret begins that goes on after the end of the data."""
        hold = len(data)
        for form in self.forms:
            at = data.find(form[:1], max(0, len(data) - len(form) + 1))
            while 0 <= at < hold and not form.startswith(data[at:]):
                at = data.find(form[:1], at + 1)
            hold = min(hold, at) if at >= 0 else hold
        return hold

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where secrets are in the data; overlapping ones are merged."""
        return list(self._spans(data))

    def _spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        found = sorted((at, at + len(form)) for form in self.forms for at in _places(data, form))
        first = last = -1
        for begin, end in found:
            if begin >= last:
                if last > 0:
                    yield first, last
                first = begin
            last = max(last, end)
        if last > 0:
            yield first, last


class Masked:
    """Masks an output that comes in pieces, also where a secret is spread over several of them.

    Args:
        mask: The values to mask.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def take(self, data: bytes) -> bytes:
        """Take a piece; return what of the output may be shown by now."""
        data = self._held + data
        spans = self._mask.spans(data)
        hold = self._mask.begin(data)
        while over := [begin for begin, end in spans if begin < hold < end]:
            hold = over[0]  # a whole secret, whose end may be the beginning of another
        if len(data) - hold > _HELD:
            hold = len(data)
        self._held = data[hold:]
        return _replaced(data[:hold], [span for span in spans if span[1] <= hold])

    def end(self) -> bytes:
        """Return what was held back."""
        data, self._held = self._held, b""
        return _replaced(data, self._mask.spans(data))


def _forms(value: str) -> Iterator[str]:
    """List the forms in which programs print a value, and each of its lines: as it is, in quotes, in JSON, in a URL."""
    value = value.strip("\r\n")
    lines = [line.strip() for line in value.splitlines()] if len(value.splitlines()) > 1 else []
    for text in (value if len(value) >= SHORTEST else "", *(line for line in lines if len(line) >= _LINE)):
        if text:
            yield from {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
            yield quote(text.encode(errors="surrogateescape"), safe="")


def _places(data: bytes, form: bytes) -> Iterator[int]:
    at = data.find(form)
    while at >= 0:
        yield at
        at = data.find(form, at + 1)


def _replaced(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    found, done = bytearray(), 0
    for begin, end in spans:
        found += data[done:begin] + _STARS
        done = end
    return bytes(found + data[done:])
