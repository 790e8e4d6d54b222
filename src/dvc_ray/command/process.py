"""Runs one command so that nothing of it outlives its worker."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from io import FileIO
from multiprocessing.connection import wait  # select(2) takes no descriptor from 1024 on
from typing import BinaryIO, Final, Protocol, Self

from dvc_ray import forking
from dvc_ray.command import guard
from dvc_ray.redact import Mask, Masked
from dvc_ray.values.surroundings import Surroundings

_GUARD: Final = guard.__file__
_PIECE: Final = 1 << 16
"""Bytes of output passed on at a time."""
_POLL: Final = 0.1
"""Seconds between checks of the log and the stop flag; the end of the command is noticed at once."""


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
    grace: float
    """Seconds between SIGTERM and SIGKILL when it is stopped."""
    surroundings: Surroundings | None = None
    """None: those of this process."""
    mask: Mask = field(default_factory=Mask)
    """Masks secrets in its output, the log included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """Return code; negative: the signal."""
    why: End
    started_ray: bool = False
    """Whether it has started a Ray of its own."""


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
    with (
        open(command.log, "ab", buffering=0) as log,
        open(command.log, "rb") as tail,
        _Sieve(command.mask, log) as sieve,
    ):
        tail.seek(0, os.SEEK_END)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            start = _fork if forking.is_safe() else _spawn
            started = start(command, sieve.given, status_write)
        finally:
            os.close(status_write)
        try:
            why = _watch(started, command.timeout, lambda: _forward(tail, decoder, heard), stopped)
        finally:
            _finish(started)
            sieve.end()
            _forward(tail, decoder, heard, final=True)
            code, started_ray = _status(status_read, started.wait())
    return Ended(code=code, why=why, started_ray=started_ray)


class _Guard(Protocol):
    """The guard of a command, as its parent has it."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """How it has ended."""

    def terminate(self) -> None:
        """Have it end the command."""

    def wait(self) -> int:
        """Wait for its end."""


def _spawn(command: Command, output: int, status: int) -> _Guard:
    """Start the guard as a program: in a process with threads, as Ray's workers are."""
    words = [str(status), str(command.grace), _settings(command), "--", *command.argv]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _GUARD, *words],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=command.cwd,
        env=dict(command.env),
        pass_fds=[status],
        start_new_session=True,
    )


def _fork(command: Command, output: int, status: int) -> _Guard:
    """Fork it, which takes a tenth of the time.

    Raises:
        OSError: The command's directory cannot be entered.
    """
    os.stat(os.path.join(command.cwd, "."))
    return _Forked(forking.fork(partial(_be_guard, command, output, status, os.getpid()), name="dvc-ray-guard"))


def _be_guard(command: Command, output: int, status: int, parent: int) -> None:
    guard.hold_signals()
    forking.take_streams(output)
    forking.close_all_but(status)
    os.chdir(command.cwd)
    guard.keep(status, command.grace, _settings(command), list(command.argv), dict(command.env), parent)


class _Forked:
    """A guard that was forked.

    Args:
        pid: Its pid.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def terminate(self) -> None:
        """Have it end the command."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end."""
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # whoever calls ignores SIGCHLD: its children are not waited for
                self.returncode = 0
        return self.returncode


class _Sieve:
    """The output file of a command: its log or, if something is to be masked, a pipe that leads there.

    Args:
        mask: What is to be masked.
        log: The log, open.
    """

    def __init__(self, mask: Mask, log: FileIO) -> None:
        self._mask = mask
        self._log = log
        self._pump: threading.Thread | None = None
        self._ends: list[int] = []
        self.given = log.fileno()
        """File descriptor that the command writes its output to."""

    def __enter__(self) -> Self:
        """Begin; without a mask there is nothing to do."""
        if self._mask:
            self._read, self.given = os.pipe()
            self._over, self._tell = os.pipe()
            self._ends = [self._read, self.given, self._over, self._tell]
            self._pump = threading.Thread(target=self._pass_on, name="dvc-ray-output", daemon=True)
            self._pump.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, also if no command was started."""
        self.end()

    def end(self) -> None:
        """Pass on what is left: the command and all it has started have ended, or are not waited for."""
        if self._pump is not None:
            os.write(self._tell, b".")
            self._pump.join()
            self._pump = None
            for number in self._ends:
                os.close(number)

    def _pass_on(self) -> None:
        masked = Masked(self._mask)
        while self._read in wait([self._read, self._over]):
            self._write(masked.take(os.read(self._read, _PIECE)))
        self._write(masked.end())

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not make the command wait for ever
            self._log.write(data)


def _settings(command: Command) -> str:
    """What the guard applies to the command, as words that it can parse with few imports."""
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
    guard: _Guard,
    timeout: float | None,
    forward: Callable[[], None],
    stopped: Callable[[], bool],
) -> End:
    deadline = None if timeout is None else time.monotonic() + timeout
    pidfd = os.pidfd_open(guard.pid)
    try:
        while not wait([pidfd], _POLL):
            forward()
            if stopped():
                return End.STOP
            if deadline is not None and time.monotonic() > deadline:
                return End.TIMEOUT
    finally:
        os.close(pidfd)
    return End.EXIT


def _finish(guard: _Guard) -> None:
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


def _status(status_fd: int, guard_code: int) -> tuple[int, bool]:
    """Read the return code, and whether the command has started a Ray."""
    with open(status_fd, "rb") as status:
        words = status.read().split()
    # No status: the guard itself was killed, which its death signal has made the command's end too.
    return (int(words[0]), guard.RAY.encode() in words) if words else (guard_code or 1, False)
