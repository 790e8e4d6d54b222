"""One-line reasons from Ray's errors; no other module reads the texts of these errors (2.60)."""

from __future__ import annotations

from typing import Final

_PRESSURE: Final = "OOM kill reason: "
"""What precedes how full the node was, in the message of an ``OutOfMemoryError``."""
_NO_MODULE: Final = ModuleNotFoundError.__name__
"""How the last line of an error begins if the worker's environment lacks a package: for a function that the worker
cannot import, Ray raises a ``RuntimeError`` with the traceback in its text (``ray._private.function_manager``)."""


def first_line(error: BaseException) -> str:
    """The first line of an error, which has the reason for most of Ray's errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line of an error, which has the reason for an error in a task."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def pressure(error: BaseException) -> str:
    """How full the node was, from an error that fills a page."""
    lines = [line for line in str(error).splitlines() if line.startswith(_PRESSURE)]
    return lines[0].removeprefix(_PRESSURE) if lines else first_line(error)


def lacks_package(error: BaseException) -> bool:
    """Whether a worker's environment lacks a package of ours or Ray's, so that another attempt would fail as well."""
    return last_line(error).startswith(_NO_MODULE)
