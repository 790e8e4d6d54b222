"""Deps that somebody edits while their stage runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def look_again(stage: Any, paths: Collection[str]) -> dict[str, bool]:
    """Hash deps anew, in the user's workspace, and take that into the stage.

    As ``dvc repro`` has it: ``Stage.run`` calls ``save_deps`` when the command has ended, in the tree that the user
    works in (dvc.stage, 3.67.1).

    Args:
        stage: A ``dvc.stage.Stage`` with the hashes of what its command was given.
        paths: Deps that may have been edited; absolute.

    Returns:
        For each dep that is not what the command was given: whether the stage names the new version. It does not if
        there is none any more, or none that can be read; DVC gives the stage up then, its work with it.
    """
    from dvc.exceptions import DvcException

    found: dict[str, bool] = {}
    for dep in stage.deps:
        if dep.fs_path not in paths:
            continue
        try:
            if not dep.status():
                continue
            dep.save()
        except (DvcException, OSError):
            found[str(dep)] = False
        else:
            found[str(dep)] = True
    return found
