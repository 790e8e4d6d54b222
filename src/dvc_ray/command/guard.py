"""Guards one command: starts it in its own session, and ends it with all that it has started.

A process of its own (``python -I -S guard.py STATUS_FD GRACE SETTINGS -- argv…``, or forked where the parent has one
thread, too), so that it can be what its parent cannot be: single-threaded, the reaper of everything the command starts
(``PR_SET_CHILD_SUBREAPER``), and told by the kernel when its parent dies (``PR_SET_PDEATHSIG``). Imports only the
standard library; as a program it starts in about 15 ms.

It ends the command, and all that the command has started, when it gets SIGTERM (which is also what it gets when its
parent dies): SIGTERM to all, GRACE seconds, SIGKILL to all. What a command leaves running when it ends by itself is
ended the same way. Then it writes the command's return code (negative: the signal) to STATUS_FD, and ``ray`` if the
command has started a Ray.

SETTINGS lists what the command must get as the caller has it, because Ray or this program has changed it:
``oom=0 nice=5 umask=18 ignore=1 block=2 limit=7:512:1024 cpu=0 unset=LC_CTYPE``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LEFTOVER_GRACE = 2.0
LOOK_EVERY = 1.0
RAY = "ray"
"""Written after the return code: the command has started a Ray."""


def main() -> None:
    """Run the command that the arguments name to its end."""
    status_fd, grace, settings, _, *argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    hold_signals()
    parent = _stand_in(libc)
    os.set_inheritable(int(status_fd), False)  # noqa: FBT003
    keep(int(status_fd), float(grace), settings, argv, dict(os.environ), parent)


def hold_signals() -> None:
    """Have signals wait until they are asked for: none of them ends this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, the kernel says nothing of it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGINT})


def keep(status_fd: int, grace: float, settings: str, argv: list[str], env: dict[str, str], parent: int) -> None:
    """Run a command to its end, in a process that has one thread and holds signals back.

    Args:
        status_fd: Where its return code is written to.
        grace: Seconds that it has to end when it is stopped.
        settings: See above.
        argv: The command.
        env: Its environment.
        parent: Pid of who waits for it: with that, it ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    pid = _start(argv, env, libc, _read(settings))
    orphaned = os.getppid() != parent  # the parent died before prctl took effect
    ray = _OwnRay()
    code = None if orphaned else _wait(pid, ray)
    code = _end_all(pid, code, LEFTOVER_GRACE if code is not None else grace, parent)
    with contextlib.suppress(OSError):  # the parent may be gone
        os.write(status_fd, f"{code} {RAY}".encode() if ray.seen else str(code).encode())


def _stand_in(libc: ctypes.CDLL) -> int:
    """Go on in a child; the original process only passes on SIGTERM and the exit code.

    A Ray worker that exits kills its direct children by SIGKILL (``kill_child_processes_on_worker_exit``), which would
    leave no time to end the command: the signal must hit a process other than the guard.

    Returns:
        In the child, the pid of the original process.
    """
    original = os.getpid()
    worker = os.getppid()
    child = os.fork()
    if not child:
        return original
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os.kill(child, signal.SIGTERM)
    while True:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            os._exit(max(0, os.waitstatus_to_exitcode(status)))
        if signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGTERM:
            os.kill(child, signal.SIGTERM)


def _read(settings: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in settings.split():
        name, _, value = word.partition("=")
        found.setdefault(name, []).append(value)
    return found


def _start(argv: list[str], env: dict[str, str], libc: ctypes.CDLL, settings: dict[str, list[str]]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the guard itself is killed
    _settle(settings)
    for name in settings.get("unset", ()):
        env.pop(name, None)
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _settle(settings: dict[str, list[str]]) -> None:
    """Be, in the process that becomes the command, what the caller's own child would be; as far as that may be."""
    for limit in settings.get("limit", ()):
        _limit(*map(int, limit.split(":")))
    for text in settings.get("umask", ()):
        os.umask(int(text))
    with contextlib.suppress(OSError):
        for text in settings.get("nice", ()):
            os.setpriority(os.PRIO_PROCESS, 0, int(text))
    with contextlib.suppress(OSError):
        if cpus := settings.get("cpu"):
            os.sched_setaffinity(0, map(int, cpus))
    with contextlib.suppress(OSError):
        for text in settings.get("oom", ()):
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(text)
    # The rest as subprocess.Popen(restore_signals=True), by which DVC starts commands, leaves it. Ray blocks SIGINT.
    ignored = set(map(int, settings.get("ignore", ())))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set(map(int, settings.get("block", ()))))


def _limit(number: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError):  # this process has a lower hard limit than the caller
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))


class _OwnRay:
    """Finds out whether the command starts a Ray: its raylet stays for as long as the program that has started it."""

    def __init__(self) -> None:
        self.seen = False
        self._first = True

    def look(self) -> float | None:
        """Look; the seconds until the next look, None if there is none."""
        self.seen = not self._first and any(map(_is_raylet, _descendants(os.getpid())))
        self._first = False  # a Ray takes seconds to start
        return None if self.seen else LOOK_EVERY


def _is_raylet(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip() == "raylet"
    return False


def _wait(pid: int, ray: _OwnRay) -> int | None:
    """Wait until the command ends; None when the guard is told to end it."""
    due = ray.look()
    while True:
        for gone, status in _reap():
            if gone == pid:
                return os.waitstatus_to_exitcode(status)
        signals = {signal.SIGCHLD, signal.SIGTERM}
        found = signal.sigwaitinfo(signals) if due is None else signal.sigtimedwait(signals, due)
        if found is None:
            due = ray.look()
        elif found.si_signo == signal.SIGTERM:
            return None


def _end_all(pid: int, code: int | None, grace: float, parent: int) -> int:
    """End what is left of the command; returns its return code, which may be known already.

    Once nobody waits for the command any more, the time for that is short.
    """
    deadline = time.monotonic() + grace
    told: set[int] = set()
    while True:
        for gone, status in _reap():
            if gone == pid and code is None:
                code = os.waitstatus_to_exitcode(status)
        left = _descendants(os.getpid())
        if not left:
            return -signal.SIGTERM if code is None else code
        if os.getppid() != parent:
            deadline = min(deadline, time.monotonic() + LEFTOVER_GRACE)
            parent = os.getppid()
        hard = time.monotonic() > deadline
        for victim in left if hard else left - told:
            _signal(victim, signal.SIGKILL if hard else signal.SIGTERM)
        told |= left
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)


def _reap() -> list[tuple[int, int]]:
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(found)
    return ended


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in _children(todo.pop()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += map(int, file.read().split())
    return children


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
