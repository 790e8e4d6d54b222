"""What Ray's errors say, in one line."""

from __future__ import annotations


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
    lines = [line for line in str(error).splitlines() if line.startswith("OOM kill reason: ")]
    return lines[0].removeprefix("OOM kill reason: ") if lines else first_line(error)


def no_environment(error: BaseException, *, setting_up: bool) -> str:
    """What a worker's environment lacks, which another attempt would not bring; empty if that is not the reason.

    Args:
        error: Ray's.
        setting_up: Whether it came when Ray made the environment, before there was a worker.
    """
    reason = last_line(error)
    if setting_up:
        return f"its runtime_env cannot be set up: {reason}"
    return f"its environment lacks a package: {reason}" if reason.startswith("ModuleNotFoundError") else ""
