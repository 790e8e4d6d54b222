"""The standard streams, where they are not as a program expects them."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_all() -> None:
    """Make what is printed harmless: to a stream that the caller has closed, or that cannot encode it.

    The next file that is opened would have the number of a closed one, and be written to by whoever prints.
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
    """Python flushes at exit: give a stream that takes no more somewhere to flush to.

    Raises:
        OSError: It is no file of the system.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
