"""Repairs standard streams that are closed, or that cannot encode what is printed."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_all() -> None:
    """Make printing safe if the caller has closed a stream, or if a stream cannot encode the text.

    The next file that is opened would get the descriptor of a closed stream, so that printed text would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_nowhere(stream: TextIO) -> None:
    """Redirect a stream that takes no more output to the null device, as Python flushes it at exit.

    Raises:
        OSError: The stream has no file descriptor.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
