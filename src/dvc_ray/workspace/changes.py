"""What a command did to a workspace beyond its outs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dvc_ray.values import Changed, StageTask
from dvc_ray.workspace.materialise import Materialised, stamps


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Files that came, went or changed; relative to the workspace."""

    changed: tuple[Changed, ...]
    deleted: tuple[str, ...]
    created: tuple[str, ...]


def find_changes(task: StageTask, made: Materialised) -> Changes:
    """Compare a workspace with what was put there. Outs are not looked at."""
    tops = set(task.outs)
    now = {path: stamp for path, stamp in stamps(made.root) if not is_under(path, tops)}
    before = {path: stamp for path, stamp in made.stamps.items() if not is_under(path, tops)}
    return Changes(
        changed=tuple(
            Changed(path=path, base=before[path][:2])
            for path, stamp in now.items()
            if path in before and stamp != before[path]
        ),
        deleted=tuple(path for path in before if path not in now),
        created=tuple(path for path in now if path not in before),
    )


def is_under(path: str, tops: set[str]) -> bool:
    """Whether a relative path is one of some others or lies under one of them."""
    while path:
        if path in tops:
            return True
        path = os.path.dirname(path)
    return False
