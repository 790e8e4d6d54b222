"""Messages: errors are written alike; how it is told that one which a page quotes is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dvc_ray import errors
from tests.helpers.messages import is_said, of_errors

KNOWN = {
    ("remote '", "' has no ", " for it"),
    ("nodes lack what stages need: ", ""),
    ("node ", " is without ", ""),
    ("it is as it was",),
}


@pytest.mark.parametrize(
    "message",
    [
        "remote '…' has no keys for it",
        "remote 'a' has no",
        "has no keys for it",
        "is as it was",
        "… has no keys for it",
        "nodes lack what stages need: node w1 is without dvc",
    ],
)
def test_a_message_or_a_part_of_one(message: str) -> None:
    assert is_said(message, KNOWN)


@pytest.mark.parametrize(
    "message",
    [
        "remote '…' had no keys for it",
        "remote '…' has no keys that are good for it all",
        "nodes lack what stages need: there is no dvc on them",
        "it is not as it was",
        "something else that is long",
    ],
)
def test_what_nobody_says(message: str) -> None:
    assert not is_said(message, KNOWN)


NAMES = ("AWS", "DVC", "Git", "Live", "Ray")
"""What is written with a capital wherever it stands."""
COMMAND = re.compile(r": (?!.*: ).+$")
"""Ends in what is to be typed, which a full stop would spoil."""


def written_alike() -> list[str]:
    """Errors that are not as DVC's own, "failed to reproduce 'train'", then what to do, in sentences."""
    found = []
    classes = [name for name in errors.__all__ if name.endswith("Error")]
    for place, what, hint in of_errors(Path(errors.__file__).parent, classes):
        capital = what[:1].isupper() and not what.startswith(NAMES)
        ends = what.endswith(".") or (hint and not hint.endswith((".", "…")) and not COMMAND.search(hint))
        if capital or ends or (hint[:1].islower() and hint[:1] != "…"):
            found.append(f"{place}: {what} | {hint}")
    return found


def test_errors_are_written_alike() -> None:
    assert written_alike() == []
