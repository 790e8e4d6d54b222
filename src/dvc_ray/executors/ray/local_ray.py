"""Checks before a local Ray starts, and the janitor that ends it when this process is gone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

_JANITOR: Final = str(Path(__file__).with_name("janitor.py"))
_PROBE_TIMEOUT: Final = 5.0


def take_back_sigterm() -> None:
    """Put Python's handler of SIGTERM back in place.

    Ray's core installs a failure handler of its own (absl's) under Python's, which prints a stack and aborts the
    process three seconds later, while commands are still being ended.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def start_janitor(directory: str) -> subprocess.Popen[bytes]:
    """Start the janitor, which ends what uses a directory when this process is gone."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _JANITOR, directory], stdin=subprocess.PIPE, start_new_session=True
    )


def probe(address: str) -> None:
    """Check that something listens at an address: Ray itself would try for minutes, and could not be interrupted.

    Raises:
        OSError: Nothing does.
    """
    host, _, port = address.removeprefix("https://").removeprefix("http://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT).close()


def check_loopback() -> None:
    """Check that processes of this machine can reach each other, as Ray's must: Ray itself would try for minutes.

    Raises:
        OSError: They cannot; the message says what to do.
    """
    with socket.socket() as listening:
        listening.settimeout(_PROBE_TIMEOUT)
        try:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            socket.create_connection(listening.getsockname(), timeout=_PROBE_TIMEOUT).close()
        except OSError as error:
            raise OSError(
                f"its processes cannot reach each other over 127.0.0.1 ({error}); is the loopback interface up?"
                " `ip link set lo up`"
            ) from error
