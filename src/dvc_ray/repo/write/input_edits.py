"""Deps that somebody edits while their stage runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def look_again(stage: Any, paths: Collection[str]) -> dict[str, bool]:
    """Hash deps again, in the user's workspace, and store the hashes in the stage.

    ``dvc repro`` does the same: ``Stage.run`` calls ``save_deps`` when the command has ended, in the tree that the
    user works in (dvc.stage, 3.67.1).

    Args:
        stage: A ``dvc.stage.Stage`` with the hashes of the deps that its command was given.
        paths: Deps that may have been edited; absolute.

    Returns:
        For each dep that differs from what the command was given: whether the stage names the new version. It does not
        if the dep is gone or cannot be read; DVC itself would then give up the stage, and its work with it.
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
