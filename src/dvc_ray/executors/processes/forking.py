"""What a forked process must do before it goes on by itself, and whether this one may be forked."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Collection
from typing import Final, NoReturn

_PR_SET_NAME: Final = 15
_DEFAULT: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM)


def is_safe() -> bool:
    """Whether this process has one thread: a lock that another one holds would never be released in a child."""
    return len(os.listdir("/proc/self/task")) == 1


def fork(child: Callable[[], object], *, name: str, keep: Collection[int]) -> int:
    """Fork a process that runs a function, and nothing of what this one is in the middle of.

    Args:
        child: What it runs. It ends when that returns or raises.
        name: What ``ps`` shows, up to 15 characters.
        keep: File descriptors that it needs; all others lead nowhere in it.

    Returns:
        Its pid.
    """
    gc.freeze()  # the first collection in the child would copy all memory
    pid = os.fork()
    if not pid:
        _run(child, name, keep)
    gc.unfreeze()
    return pid


def _run(child: Callable[[], object], name: str, keep: Collection[int]) -> NoReturn:
    """Never return into the frames of the parent: they would end its run a second time."""
    code = 1
    try:
        become(name, keep)
        child()
        code = 0
    finally:
        os._exit(code)


def become(name: str, keep: Collection[int]) -> None:
    """Be a process of its own: no terminal, no signals of the parent's, and none of its files.

    Args:
        name: What ``ps`` shows.
        keep: File descriptors that stay.
    """
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what a Ctrl-C means
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _let_go(keep)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def _let_go(keep: Collection[int]) -> None:
    """Have inherited descriptors lead nowhere.

    Some hold locks (``driver.json``, DVC's own), so that a parent that is killed would count as alive. They stay
    taken: an object of the parent's that is closed here, as a connection of SQLite, must not close a file of ours.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number not in {*keep, null} and _is_open(number):
            os.dup2(null, number, inheritable=number <= 2)
    os.close(null)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:  # that of the listing itself
        return False
    return True
