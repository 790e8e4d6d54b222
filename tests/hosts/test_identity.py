"""What a run on hosts that share no disk leaves, once its data is pulled, is what stock DVC leaves on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import stock
from tests.helpers.cloud import Cloud

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
    cloud.head.sh(f"dvc remote add --local -q -d cloud {url}/here", cwd=place)
    if name == "flags":  # an out of it goes to a remote of its own, which is a path there
        cloud.head.sh(f"dvc remote modify --local other url {url}/other", cwd=place)
    cloud.head.sh("dvc push -q", cwd=place)
    for step in case.steps[:STEPS]:
        case.change(root, step)
        cloud.run(place, "repro", *stock.flags(case, step))
        cloud.head.sh("dvc pull -q --run-cache", cwd=place)
        found = stock.snapshot(root)
        assert stock.differences(compared(expected[step]), compared(found)) == [], step
        there = {key.partition("/")[2] for key in cloud.store.keys(f"identity-{name}")}
        assert objects(expected[step]) <= there, step


def compared(found: dict[str, str]) -> dict[str, str]:
    """Without the settings of the remote, and the objects of the cache: of uncached outs, `dvc pull` brings none."""
    return {
        path: text
        for path, text in found.items()
        if path != ".dvc/config.local" and not path.startswith(".dvc/cache/files/")
    }


def objects(found: dict[str, str]) -> set[str]:
    return {path.removeprefix(".dvc/cache/") for path in found if path.startswith(".dvc/cache/files/")}
