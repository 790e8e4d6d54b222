"""Words for what went wrong with a stage."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dvc_ray.values import StageResult

_TAIL: Final = 20
"""Lines of output shown of a failed stage."""
_TAIL_BYTES: Final = 16384
_LINE: Final = 1000
"""Characters shown of such a line."""


def created(result: StageResult) -> str:
    """Name new files that no out declares; empty if there are none."""
    paths = [path for path in result.created if "__pycache__" not in path]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    named = ", ".join(paths[:3])
    return f"stage '{result.address}' wrote {named}{more}, which no out declares; kept." if paths else ""


def short(result: StageResult) -> str:
    """What went wrong, without the whole command: that stands in dvc.yaml."""
    if result.exit_code is None or not result.error.startswith("failed to run:"):
        return result.error
    if result.exit_code < 0:
        return f"its command was ended by {_signal_name(-result.exit_code)}"
    return f"its command exited with {result.exit_code}"


def missed(paths: Sequence[str]) -> str:
    """Name what a command may have missed in its workspace."""
    if not paths:
        return ""
    named = ", ".join(f"'{path}'" for path in paths)
    return (
        f"\nIts output names {named}, in your project but not in the stage's workspace:"
        " ignored by Git and not declared."
        "\nDeclare it under 'deps', or name it in 'meta: {ray: {include: [...]}}' of the stage."
    )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def last_lines(log: str) -> tuple[str, ...]:
    """The end of a log, however large it is."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
        return tuple(line.rpartition("\r")[2][:_LINE] for line in text.splitlines()[-_TAIL:])
    return ()


def shown(path: Path) -> str:
    """A path as short as the user can use it from where they are."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
