"""What a local Ray needs of this machine to start, and what ends it when this process is gone."""

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

    Ray's core installs a failure handler of its own under Python's (absl's), which prints a stack and aborts the
    process three seconds later, while commands are being ended.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def start_janitor(directory: str) -> subprocess.Popen[bytes]:
    """Have what works in a directory ended when this process is gone."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _JANITOR, directory], stdin=subprocess.PIPE, start_new_session=True
    )


def probe(address: str) -> None:
    """See whether anybody listens: Ray itself would try for minutes, and could not be interrupted.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.removeprefix("https://").removeprefix("http://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT).close()


def check_loopback() -> None:
    """See whether processes of this machine can reach each other, as Ray's must: it would try for minutes.

    Raises:
        OSError: They cannot, with what to do about it.
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
