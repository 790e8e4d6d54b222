"""The command line on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

_ON_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # its own: closing it hangs up
from dvc_ray.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Terminal:
    """The command line on a terminal of its own."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *arguments],
            cwd=root,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def read_until(self, text: str) -> str:
        found = ""
        while text not in found:
            if not select.select([self._master], [], [], 180)[0]:
                break
            try:
                found += os.read(self._master, 4096).decode(errors="replace")
            except OSError:  # the other end is gone
                break
        return found

    def close(self) -> None:
        os.close(self._master)

    def say(self, text: str) -> None:
        os.write(self._master, text.encode())
