"""What a run on hosts that share no disk leaves, once its data is pulled, is what stock DVC leaves on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import stock
from tests.hosts.conftest import Cloud

pytestmark = pytest.mark.full

CASES = ("diamond", "flags", "live", "mixed", "subdir", "texts", "tree")
"""The core of the identity suite, without what concerns links to the cache."""
STEPS = 3
"""The first run, one with nothing to do, one after a change."""


@pytest.mark.parametrize("name", CASES)
def test_leaves_what_stock_dvc_leaves(name: str, cloud: Cloud, tmp_path: Path) -> None:
    case = stock.Case.load(name)
    expected = stock.expected(case, tmp_path / "stock" / "project")
    place = f"/root/identity/{name}"
    root = cloud.head.root / place.lstrip("/")
    case.make(root)
    url = cloud.store.bucket(f"identity-{name}")
    cloud.head.sh(f"dvc remote add --local -q -d cloud {url}/here && dvc push -q", cwd=place)
    for step in case.steps[:STEPS]:
        case.change(root, step)
        cloud.run(place, "repro", *stock.flags(case, step))
        cloud.head.sh("dvc pull -q --run-cache", cwd=place)
        assert stock.differences(without_config(expected[step]), without_config(stock.snapshot(root))) == [], step


def without_config(found: dict[str, str]) -> dict[str, str]:
    return {path: text for path, text in found.items() if path != ".dvc/config.local"}
