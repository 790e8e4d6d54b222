"""The process that worker processes are forked from, and how the driver asks it for one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Final

from dvc_ray import forking
from dvc_ray.executors.processes.worker import serve

_WORKER: Final = "dvc-ray-worker"
_NURSERY: Final = "dvc-ray-nursery"
_MESSAGE: Final = 64
"""Bytes that a message between driver and nursery has at most."""
_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from dvc_ray.executors.processes.nursery import main
main(int(sys.argv[1]))
"""


class Nursery:
    """The nursery, as the driver has it. Started at once.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._pids: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        """How workers have ended, by number."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if forking.is_safe():
                self._pid = forking.fork(partial(_be_nursery, theirs), name=_NURSERY)
            else:  # a notebook, a program with threads: nothing of what is imported there can be used
                self._program = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
                self._pid = self._program.pid

    def is_alive(self) -> bool:
        """Whether workers can be asked for."""
        self._hear(0.0)
        return self._pid != 0

    def worker(self) -> tuple[int, Connection]:
        """Ask for a worker: its number, and what it is spoken to by.

        Raises:
            OSError: The nursery is gone.
        """
        self._number += 1
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [str(self._number).encode()], [theirs.fileno()])
        return self._number, Connection(ours.detach())

    def ended(self, number: int, timeout: float = 0.0) -> int | None:
        """How a worker has ended: its exit code, or the signal as a negative number; None: that is not known.

        Args:
            number: Of the worker.
            timeout: Seconds to wait for it.
        """
        deadline = time.monotonic() + timeout
        while number not in self._ends and self._pid and (left := deadline - time.monotonic()) > 0:
            self._hear(left)
        self._hear(0.0)
        return self._ends.get(number)

    def kill(self, number: int) -> None:
        """Kill a worker; the kernel tells the guard of its command, which ends it."""
        self._hear(0.0)
        if number in self._pids and number not in self._ends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pids[number], signal.SIGKILL)

    def close(self, patience: float) -> None:
        """Have it end when its workers have; harmless if called again.

        Args:
            patience: Seconds after which those that are left are killed.
        """
        self._control.close()
        if not self._pid:
            return
        pidfd = os.pidfd_open(self._pid)
        try:
            if not wait([pidfd], patience):
                for pid in (*self._pids.values(), self._pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        finally:
            os.close(pidfd)
        self._reap()

    def _hear(self, timeout: float) -> None:
        """Take what it has told, waiting for the first of it."""
        while self._pid and wait([self._control], timeout):
            timeout = 0.0
            try:
                message = self._control.recv(_MESSAGE)
            except OSError:
                message = b""
            if not message:
                self._reap()
                return
            kind, number, value = message.split()
            (self._pids if kind == b"pid" else self._ends)[int(number)] = int(value)

    def _reap(self) -> None:
        if self._program is not None:
            self._program.wait()
        elif self._pid:
            with contextlib.suppress(ChildProcessError):  # somebody else in this process has
                os.waitpid(self._pid, 0)
        self._pid = 0


def main(control: int) -> None:
    """Be a nursery that was started as a program.

    Args:
        control: Descriptor of the socket to the driver.
    """
    forking.be_called(_NURSERY)
    _be_nursery(socket.socket(fileno=control))


def _be_nursery(control: socket.socket) -> None:
    forking.be_worker([control.fileno()])
    keep_workers(control)


def keep_workers(control: socket.socket) -> None:
    """Fork workers when the driver asks, tell how they end, and end after the last one when the driver is gone.

    Args:
        control: To the driver, which sends the number of a worker, and with it the worker's own socket.
    """
    living: dict[int, tuple[int, int]] = {}
    """Number and pid of each worker, by a descriptor of the process."""
    while True:
        for ready in wait([control.fileno(), *living]):
            if isinstance(ready, int) and ready in living:
                number, pid = living.pop(ready)
                os.close(ready)
                _tell(control, "end", number, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            elif (asked := _asked(control)) is not None:
                number, own = asked
                pid = forking.fork(partial(_work, own), name=_WORKER)
                os.close(own)
                living[os.pidfd_open(pid)] = number, pid
                _tell(control, "pid", number, pid)
            else:
                for _, pid in living.values():  # they stop what they run: their driver is gone, too
                    os.waitpid(pid, 0)
                return


def _asked(control: socket.socket) -> tuple[int, int] | None:
    """The number of a worker that the driver wants, and its socket; None: the driver is gone."""
    message, given, _, _ = socket.recv_fds(control, _MESSAGE, 1)
    return (int(message), given[0]) if message else None


def _work(own: int) -> None:
    forking.be_worker([own])
    serve(Connection(own))


def _tell(control: socket.socket, kind: str, number: int, value: int) -> None:
    with contextlib.suppress(OSError):  # the driver is gone, which is seen next
        control.send(f"{kind} {number} {value}".encode())
