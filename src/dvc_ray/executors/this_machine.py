"""This machine as a cluster of its own, for executors that need no other."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from dvc_ray.values.run import ActiveRun
from dvc_ray.values.stage import StageSettings


def local_cpus(jobs: int | None) -> int:
    """CPUs that stages may take: the cores, more if more jobs are wanted, two at least for a nested trainer."""
    return max(len(os.sched_getaffinity(0)), jobs or 2, 2)


class ThisMachine:
    """A `Cluster` of this machine alone: always there, and used by nobody else.

    Args:
        apart: Whether it acts as a machine that does not share the head's disk.
        shared: A folder that it shares with the head even so.
    """

    def __init__(self, *, apart: bool = False, shared: str | None = None) -> None:
        self._apart = apart
        self._shared = shared

    def start(self, jobs: int | None, settings: StageSettings | None = None) -> str:
        """Nothing to get ready."""
        return ""

    def cpus(self) -> float:
        """One stage at a time: DVC uses the working directory of the process."""
        return 1

    def capacity(self) -> float | None:
        """None: attempts are not counted, but wait for their turn."""
        return None

    def surely_fits(self, settings: StageSettings) -> bool:
        """Always: resources are not counted here."""
        return True

    def check(self, address: str, settings: StageSettings) -> str:
        """Nothing is refused either."""
        return ""

    def shares_disk(self) -> bool:
        """Whether the head's disk is this machine's; not with ``apart``."""
        return not self._apart

    def look_over(self) -> str:
        """Nothing to compare: it is this machine."""
        return ""

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """Only the ``shared`` folder is visible."""
        if self._shared is None or os.path.commonpath([self._shared, folder]) != self._shared:
            return {socket.gethostname(): "is as another machine"}
        return {}

    def announced(self, run: ActiveRun) -> AbstractContextManager[None]:
        """Nothing to announce: nobody else uses this process."""
        return nullcontext()

    def stop_requested_by(self) -> str:
        """Nobody: there is no one else to ask."""
        return ""
