"""What Ray's errors say, in one line; of what they tell in words only, here is all that is read (2.60)."""

from __future__ import annotations

from typing import Final

_PRESSURE: Final = "OOM kill reason: "
"""Before how full the node was, in the message of an ``OutOfMemoryError``."""
_NO_MODULE: Final = ModuleNotFoundError.__name__
"""What a worker's last line begins with whose environment lacks a package: of a function that it cannot import, Ray
makes a ``RuntimeError`` with the traceback in its text (``ray._private.function_manager``)."""


def first_line(error: BaseException) -> str:
    """Of most errors, Ray tells the reason first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """Of an error in a task, Ray tells the place first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def pressure(error: BaseException) -> str:
    """How full the node was, of an error that goes on for a page."""
    lines = [line for line in str(error).splitlines() if line.startswith(_PRESSURE)]
    return lines[0].removeprefix(_PRESSURE) if lines else first_line(error)


def lacks_package(error: BaseException) -> bool:
    """Whether a worker's environment lacks a package of ours or Ray's, which another attempt would not bring."""
    return last_line(error).startswith(_NO_MODULE)
