"""Messages that say what went wrong in an attempt."""

from __future__ import annotations

from collections.abc import Sequence

from dvc_ray.values.task import StageTask
from dvc_ray.workspace import misplaced_outs


def about_missing_out(task: StageTask) -> str:
    """Say that an out that does not exist was written to the user's tree; empty if none was."""
    found = misplaced_outs(task)
    if not found:
        return ""
    return (
        f" in the stage's own workspace, but '{found[0]}' was written to your project: by an absolute"
        " path, or by a package that is installed editable in another Python than dvc-ray's. Use a path"
        " relative to the stage's directory, or one that begins with $PWD or $DVC_ROOT; of a package, name the"
        " folder:"
        " 'meta: {ray: {env: {PYTHONPATH: src}}}'."
    )


def damaged(paths: Sequence[str]) -> str:
    """Say that a command has written to objects of DVC's cache.

    Args:
        paths: Deps that are links to them.
    """
    named = ", ".join(f"'{path}'" for path in paths[:3])
    return (
        f"its command wrote to {named}, a dep that is a link to an object of DVC's cache (cache.type). The"
        " damaged object was taken out of the cache. Get the original again with `dvc pull` or by reproducing"
        " the stage that makes it, and let the command write to a copy."
    )
