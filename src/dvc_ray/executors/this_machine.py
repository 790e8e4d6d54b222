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
    """A `Cluster` of this machine, which is there already and is shared with nobody.

    Args:
        apart: Whether it is taken for one that does not share the head's disk.
        shared: A folder that it sees all the same.
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
        """Not counted: what is submitted waits for its turn."""
        return None

    def surely_fits(self, settings: StageSettings) -> bool:
        """Resources are not counted here."""
        return True

    def check(self, address: str, settings: StageSettings) -> str:
        """Nor is anything refused."""
        return ""

    def shares_disk(self) -> bool:
        """Whether the disk is this machine's own, which it is taken not to be with ``apart``."""
        return not self._apart

    def look_over(self) -> str:
        """It is this machine."""
        return ""

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """It sees what it was made to see."""
        if self._shared is None or os.path.commonpath([self._shared, folder]) != self._shared:
            return {socket.gethostname(): "is as another machine"}
        return {}

    def announced(self, run: ActiveRun) -> AbstractContextManager[None]:
        """Nobody else uses this process."""
        return nullcontext()

    def stop_requested_by(self) -> str:
        """So nobody asks."""
        return ""
