"""``python -m tests.helpers.meanwhile MOMENT COMMAND``: a run without Ray, and what its user does at a moment of it.

A moment is a change to the project's files by this process, DVC's among them: the command runs before the one of that
number, and all waits for it. At the end the number of changes is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Final

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.report import Notice, RunEvent, StageReport
from tests.helpers.listening import telling

_CHANGES: Final = {"os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "open"}


class Meanwhile:
    """Counts changes, and runs a command before one of them."""

    def __init__(self, moment: int, command: str) -> None:
        self.count = 0
        self._moment = moment
        self._command = command
        self._root = os.getcwd()
        self._environ = dict(os.environ)
        self._busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """As `sys.addaudithook` wishes it."""
        if event not in _CHANGES or self._busy or (event == "open" and not _writes(arguments)):
            return
        path = arguments[0]
        if not isinstance(path, (str, bytes)) or not os.path.abspath(os.fsdecode(path)).startswith(self._root):
            return
        self.count += 1
        if self.count == self._moment:
            self._busy = True
            done = subprocess.run(
                ["bash", "-c", self._command],
                cwd=self._root,  # a stage may be under way in this process, in its workspace
                env=self._environ,
                capture_output=True,
                text=True,
                check=False,
            )
            say(f"COMMAND {done.returncode} {done.stdout}{done.stderr}")
            self._busy = False


def say(text: str) -> None:
    """Say it at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))


def main() -> int:
    """Run; the exit code of the command line."""
    meanwhile = Meanwhile(int(sys.argv[1]), sys.argv[2])
    sys.addaudithook(meanwhile)

    def listen(event: RunEvent) -> None:
        if isinstance(event, (Notice, StageReport)):
            say(str(event))

    try:
        result = api.repro(sinks=telling(listen), executor=LocalExecutor())
    finally:
        say(f"CHANGES {meanwhile.count}")
    return 255 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
