"""Forking processes of this one: whether that is safe, and what a child must do before it goes on by itself."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Collection, Iterator
from typing import Final, NoReturn

_PR_SET_NAME: Final = 15
_DEFAULT: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM)


def is_safe() -> bool:
    """Whether this process has one thread: a lock that another one holds would never be released in a child."""
    return len(os.listdir("/proc/self/task")) == 1


def fork(child: Callable[[], object], *, name: str) -> int:
    """Fork a process that runs a function in a session of its own, and nothing of what this one is in the middle of.

    Args:
        child: What it runs. It ends when that returns or raises.
        name: What ``ps`` shows, up to 15 characters.

    Returns:
        Its pid.
    """
    gc.freeze()  # the first collection in the child would copy all memory
    pid = os.fork()
    if not pid:
        _run(child, name)
    gc.unfreeze()
    return pid


def _run(child: Callable[[], object], name: str) -> NoReturn:
    """Never return into the frames of the parent: they would end its run a second time."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        be_called(name)
        child()
        code = 0
    finally:
        os._exit(code)


def be_called(name: str) -> None:
    """Have ``ps`` show a name for this process, up to 15 characters."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def be_worker(keep: Collection[int]) -> None:
    """Be a process that takes no signals of the terminal, prints nothing, and has none of its parent's files.

    Args:
        keep: File descriptors that stay. All others lead nowhere: some hold locks (``driver.json``, DVC's own), so that
            a parent that is killed would count as alive. They stay taken: an object of the parent's that is closed
            here, as a connection of SQLite, must not close a file of ours.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what a Ctrl-C means
    for each in _DEFAULT:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDWR)
    for number in set(_open()) - {*keep, null}:
        os.dup2(null, number, inheritable=number <= 2)
    os.close(null)


def take_streams(output: int) -> None:
    """Print to a file descriptor from now on, and read nothing."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(output, 1)
    os.dup2(output, 2)


def close_all_but(keep: int) -> None:
    """Close all file descriptors but one and the standard streams: of a process that uses no object of its parent's."""
    for number in set(_open()) - {0, 1, 2, keep}:
        os.close(number)


def _open() -> Iterator[int]:
    """The open file descriptors; but for that of the listing, which is closed when it is done."""
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue
        yield int(name)
