"""Which changes `--allow-missing` does not count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dvc_ray.repo.select import status


@dataclass(eq=False)
class Item:
    """A dep or an out, as far as a status asks for it."""

    fs_path: str
    found: dict[str, Any] = field(default_factory=dict)
    hash_info: str = "as it was"

    def __str__(self) -> str:
        return self.fs_path

    def status(self) -> dict[str, Any]:
        return self.found


@dataclass(eq=False)
class Stage:
    """A `.dvc` file or a stage, as far as a status asks for it."""

    deps: tuple[Item, ...] = ()
    outs: tuple[Item, ...] = ()
    cmd: str = "true"
    frozen: bool = False
    is_callback: bool = False
    always_changed: bool = False

    def changed_stage(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("stage", "upstream", "reasons"),
    [
        (Stage(outs=(Item("out", {"out": "deleted"}),)), (), ()),
        (Stage(outs=(Item("out", {"out": "not in cache"}),)), (), ()),
        (Stage(outs=(Item("out", {"out": "modified"}),)), (), ("modified out",)),
        (Stage(deps=(Item("dep", {"dep": "deleted"}),)), (), ()),
        (Stage(deps=(Item("dep", {"dep": "deleted"}),)), (Item("dep"),), ()),
        (Stage(deps=(Item("dep", {"dep": "deleted"}),)), (Item("dep", hash_info="new"),), ("deleted dep",)),
        # The param `lr` of a file is gone: the out with that name is another thing.
        (
            Stage(deps=(Item("p.yaml", {"p.yaml": {"lr": "deleted"}}),), outs=(Item("p.yaml:lr"),)),
            (),
            ("deleted p.yaml:lr",),
        ),
    ],
)
def test_what_is_missing_is_no_change(stage: Stage, upstream: tuple[Item, ...], reasons: tuple[str, ...]) -> None:
    found = status.of(stage, allow_missing=True, upstream=[Stage(outs=upstream)])
    assert found.reasons == reasons
    assert found.changed is bool(reasons)
