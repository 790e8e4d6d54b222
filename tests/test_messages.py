"""The messages that pages quote are those of the code: how that is told."""

from __future__ import annotations

import pytest

from tests.helpers.messages import is_said

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
