"""Runs one command with this process's own terminal, so that a debugger in it has one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator

from dvc_ray.command.process import Command, End, Ended


def run(command: Command) -> Ended:
    """Run a command to its end; in the main thread.

    It gets the standard input, output and error of this process. So nothing of its output is kept or masked, it has no
    timeout, and Ctrl-C goes to the command: if it ends by that, it counts as stopped.

    Raises:
        OSError: It cannot be started.
    """
    with _left_to_the_command():
        code = subprocess.run(list(command.argv), cwd=command.cwd, env=dict(command.env), check=False).returncode
    stopped = code in {-signal.SIGINT, 128 + signal.SIGINT}
    return Ended(code=code, why=End.STOP if stopped else End.EXIT)


@contextlib.contextmanager
def _left_to_the_command() -> Iterator[None]:
    """Make Ctrl-C end nothing here. A handler does this, because a command does not inherit it, unlike ``SIG_IGN``."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
