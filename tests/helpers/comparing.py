"""Two trees are the same, or the test fails."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import stock


def assert_same_files(other: Path, root: Path) -> None:
    """All that two projects hold is the same, and so is what DVC says of them."""
    assert stock.differences(dict(stock._files(other)), dict(stock._files(root))) == []
    assert stock.status(other) == stock.status(root)


def assert_same(root: Path, other: Path, *paths: str) -> None:
    for path in ("dvc.lock", *paths):
        assert (root / path).read_text() == (other / path).read_text(), path
