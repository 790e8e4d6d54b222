"""What a command did to a workspace beyond its outs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from dvc_ray.paths import is_under
from dvc_ray.values.task import Changed, StageTask
from dvc_ray.workspace.materialise import CODE_LIST, Materialised, stamps

_NOT_PATH: Final = re.compile(r"[\s'\"`,:;()\[\]{}<>|]+")
"""What separates words of a message that may be relative paths."""


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


def misplaced_outs(task: StageTask) -> tuple[str, ...]:
    """Name outs that are not in the workspace but in the user's tree, written there by the command."""
    removed = sorted(set(task.outs) - set(task.copies))
    missing = [path for path in removed if not os.path.lexists(os.path.join(task.workspace, path))]
    return tuple(path for path in missing if _written_at_home(task, path))


def _written_at_home(task: StageTask, path: str) -> bool:
    found = os.path.join(task.home, path)
    if not os.path.lexists(found):
        return False
    # The run has removed it before, but for an experiment: that leaves the outs of the last run in the user's tree.
    made = os.stat(os.path.join(task.workspace, task.project, CODE_LIST)).st_mtime_ns
    return task.home == task.tree or os.lstat(found).st_mtime_ns > made


def missed_files(task: StageTask, text: str) -> tuple[str, ...]:
    """Name what a command speaks of, which exists in the user's tree but was not given to it. On the head."""
    given = {*task.code, *task.links, *task.copies, *task.outs}
    wdir = os.path.normpath(
        os.path.join(task.project, os.path.dirname(task.dvcfile), str(task.definition.get("wdir") or "."))
    )
    found = {}
    for word in set(_NOT_PATH.split(text)) - {""}:
        for base in (wdir, task.project):
            part = os.path.normpath(os.path.join(base, word.rstrip(".")))
            inside = part != "." and not os.path.isabs(part) and not part.startswith((os.pardir, ".dvc", ".git"))
            if inside and not is_under(part, given) and os.path.exists(os.path.join(task.home, part)):
                found[part] = not any(path.startswith(part + os.sep) for path in given)
    return tuple(path for path, missing in found.items() if missing)[:5]
