"""Runs one command so that nothing of it outlives its worker."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

from dvc_ray.values.surroundings import Surroundings

__all__ = ["Command", "End", "Ended", "run"]

_GUARD: Final = str(Path(__file__).with_name("guard.py"))
_PIECE: Final = 1 << 16
"""Bytes of output passed on at a time."""
_POLL: Final = 0.1
"""Seconds between looks at the log and the stop flag; the command's own end is seen at once."""


class End(Enum):
    """Why a command ended."""

    EXIT = "exit"
    STOP = "stop"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command and where it runs."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str] = field(repr=False)
    log: str
    """File its output is appended to."""
    timeout: float | None = None
    grace: float = 10.0
    surroundings: Surroundings | None = None
    """None: those of this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """Return code; negative: the signal."""
    why: End


def run(command: Command, *, heard: Callable[[str], None], stopped: Callable[[], bool]) -> Ended:
    """Run a command to its end.

    Args:
        command: What to run.
        heard: Called with each new piece of output, about ten times a second while there is some.
        stopped: Asked as often whether to end the command early.

    Raises:
        OSError: The guard cannot be started.
    """
    status_read, status_write = os.pipe()
    with open(command.log, "ab", buffering=0) as log, open(command.log, "rb") as tail:
        tail.seek(0, os.SEEK_END)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            guard = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    _GUARD,
                    str(status_write),
                    str(command.grace),
                    _settings(command),
                    "--",
                    *command.argv,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=command.cwd,
                env=dict(command.env),
                pass_fds=[status_write],
                start_new_session=True,
            )
        finally:
            os.close(status_write)
        try:
            why = _watch(guard, command.timeout, lambda: _forward(tail, decoder, heard), stopped)
        finally:
            _finish(guard)
            _forward(tail, decoder, heard, final=True)
            code = _code(status_read, guard.returncode)
    return Ended(code=code, why=why)


def _settings(command: Command) -> str:
    """What the guard gives to the command, as words that it can read without loading much."""
    wanted = command.surroundings or Surroundings()
    single = {"oom": wanted.oom_score_adj, "nice": wanted.nice, "umask": wanted.umask}
    words = [f"{name}={value}" for name, value in single.items() if value is not None]
    words += [f"ignore={number}" for number in wanted.ignored]
    words += [f"block={number}" for number in wanted.blocked]
    words += [f"limit={':'.join(map(str, limit))}" for limit in wanted.limits]
    words += [f"cpu={number}" for number in wanted.cpus]
    if "LC_CTYPE" not in command.env:  # Python sets it where the locale is C: in the guard, too
        words.append("unset=LC_CTYPE")
    return " ".join(words)


def _watch(
    guard: subprocess.Popen[bytes],
    timeout: float | None,
    forward: Callable[[], None],
    stopped: Callable[[], bool],
) -> End:
    deadline = None if timeout is None else time.monotonic() + timeout
    pidfd = os.pidfd_open(guard.pid)
    try:
        while not select.select([pidfd], [], [], _POLL)[0]:
            forward()
            if stopped():
                return End.STOP
            if deadline is not None and time.monotonic() > deadline:
                return End.TIMEOUT
    finally:
        os.close(pidfd)
    return End.EXIT


def _finish(guard: subprocess.Popen[bytes]) -> None:
    """End the guard, which ends the command; a guard that has ended already is only reaped."""
    with contextlib.suppress(ProcessLookupError):
        guard.terminate()
    guard.wait()


def _forward(
    tail: BinaryIO, decoder: codecs.IncrementalDecoder, heard: Callable[[str], None], *, final: bool = False
) -> None:
    """Pass new output on, in pieces that fit a message; a character may end in the next piece."""
    while data := tail.read(_PIECE):
        if text := decoder.decode(data):
            heard(text)
    if final and (rest := decoder.decode(b"", final=True)):
        heard(rest)


def _code(status_fd: int, guard_code: int) -> int:
    with open(status_fd, "rb") as status:
        text = status.read()
    # No status: the guard itself was killed, which its death signal has made the command's end too.
    return int(text) if text else guard_code or 1
