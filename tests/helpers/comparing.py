"""Two trees are the same, or the test fails."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import stock


def same_files(other: Path, root: Path) -> bool:
    assert stock.differences(dict(stock._files(other)), dict(stock._files(root))) == []
    assert stock.status(other) == stock.status(root)
    return True


def assert_same(root: Path, other: Path, *paths: str) -> None:
    for path in ("dvc.lock", *paths):
        assert (root / path).read_text() == (other / path).read_text(), path
