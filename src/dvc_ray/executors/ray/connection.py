"""The Ray that attempts run on: a cluster that is joined, or a local one that is started, kept and stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Final

from dvc_ray.command.surroundings import in_the_way, lift_limits
from dvc_ray.errors import IN_CAUSE, ClusterError
from dvc_ray.executors.ray.local_ray import (
    check_loopback,
    probe,
    start_janitor,
    take_back_sigterm,
)
from dvc_ray.executors.ray.messages import first_line
from dvc_ray.executors.ray.start_turn import StartTurn
from dvc_ray.executors.ray.tokens import close_to_others, has_token, use_token
from dvc_ray.executors.this_machine import local_cpus
from dvc_ray.ray_api import local_ray
from dvc_ray.ray_api.names import HEAD

_START_PATIENCE: Final = 10.0
"""Seconds to wait for Ray to finish starting, if the run is over before that."""
_QUIET: Final = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}


class Connection:
    """This process as a driver of Ray.

    Args:
        address: Cluster to join; None: start a local Ray and stop it in `close`.
        jobs: Attempts at a time; a local Ray has that many CPUs, if they are more than its cores.
    """

    def __init__(self, address: str | None, jobs: int | None = None) -> None:
        self.address = address
        self.head = ""
        """Id of the cluster's head node; empty for a local Ray."""
        self._jobs = jobs
        self._janitor: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._leave = threading.Event()
        self._failure: BaseException | None = None
        self._vital: dict[str, subprocess.Popen[bytes]] = {}
        self._dead = False
        self._has_driver = False
        """Whether this code has made, or was about to make, this process a driver of Ray."""
        self._turn = StartTurn()
        self._answers = False
        self._put_back = contextlib.ExitStack()

    def begin(self, jobs: int | None) -> str:
        """Start or join Ray in the background: it takes seconds, in which the head prepares the first stages.

        Returns:
            A notice for the user; empty if it had begun already.
        """
        if self._thread is not None:
            return ""
        self._jobs = jobs
        before = self._turn.take() if self.address is None else None
        self._thread = threading.Thread(target=self._hold, name="dvc-ray-cluster", daemon=True)
        self._thread.start()
        if self.address is not None:
            return f"Joining Ray at {self.address}."
        told = f"Starting Ray on this machine with {local_cpus(jobs)} CPUs"
        if before is None:
            return f"{told}."
        who = f" (now process {before})" if before else ""
        return f"{told} when others{who} have started theirs: they start one after the other."

    def capacity(self) -> int | None:
        """CPUs of the local Ray; None for a cluster, which may grow."""
        return local_cpus(self._jobs) if self.address is None else None

    def is_ready(self, timeout: float) -> bool:
        """Whether `wait` would return at once, as Ray is there or has failed to start.

        Args:
            timeout: Seconds to wait for that.
        """
        return self._ready.wait(timeout)

    def wait(self) -> None:
        """Wait until Ray is ready; start or join it, if that has not begun.

        Raises:
            ClusterError: It cannot be started or joined.
        """
        self.begin(self._jobs)
        self._ready.wait()
        take_back_sigterm()
        if self._failure is not None:
            raise ClusterError(
                f"cannot {'start Ray on this machine' if self.address is None else f'join Ray at {self.address}'}:"
                f" {first_line(self._failure)}",
                _why_not_joined(answers=self._answers) if self.address else _why_not_started(),
            ) from self._failure

    def found_dead(self) -> str:
        """Detect that the local Ray is dead before Ray does, which hangs and after a minute aborts the process.

        Returns:
            Once, which of its processes has ended; empty: none, or it was reported before.
        """
        gone = next((name for name, process in self._vital.items() if process.poll() is not None), None)
        if gone is None or self._dead:
            return ""
        self._dead = True
        local_ray.forget()
        if self._janitor is not None and self._janitor.stdin is not None:
            self._janitor.stdin.close()
            self._janitor.wait()
        return f"its {gone} ended with {self._vital[gone].returncode}"

    def close(self) -> None:
        """Stop the local Ray, or leave the cluster. Harmless if called again."""
        self._leave.set()
        if self._thread is None:
            self._turn.give_back()
        else:
            # A thread that is still in ray.init cannot be interrupted; the janitor ends what it starts.
            self._thread.join(None if self._ready.is_set() else _START_PATIENCE)

    def _hold(self) -> None:
        """Start Ray, keep it and stop it, in one thread.

        Ray ties the processes it starts to its starter by the parent-death signal, and for Linux the parent is the
        thread: they would die with a thread that only starts them.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            if self.address is not None:
                self._join(self.address)
            else:
                self._start_in_turn()
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            self._failure = error
        self._ready.set()
        self._leave.wait()
        if self._has_driver and not self._dead:  # never a Ray that other code in this process has started
            with contextlib.suppress(Exception):  # a cluster that is gone need not be left
                import ray

                ray.shutdown()
        if self._janitor is not None:
            self._janitor.communicate()
        self._put_back.close()

    def _start_in_turn(self) -> None:
        check_loopback()
        try:
            self._turn.wait(self._leave)
            with local_ray.patience(self._leave):
                self._start()
        except BaseException:
            if self._janitor is not None:  # what has started must not hinder the next start
                self._janitor.communicate()
            raise
        finally:
            self._turn.give_back()

    def _start(self) -> None:
        import ray

        # Socket paths may have 107 bytes: the directory must be short. Ray lets all users write to its own directory,
        # where it keeps code that workers unpack: nobody else may enter the directory around it.
        directory = tempfile.mkdtemp(prefix="dvc-ray-", dir="/tmp")
        self._janitor = start_janitor(directory)
        self._put_back.callback(lift_limits())
        if not ray.is_initialized():  # if the caller has done so, `ray.init` will say it
            self._put_back.callback(close_to_others())
        self._has_driver = True
        ray.init(
            address="local",
            num_cpus=local_cpus(self._jobs),
            include_dashboard=False,
            **local_ray.start_options(os.path.join(directory, "ray"), workers_at_once=local_cpus(self._jobs)),
            **_QUIET,
        )
        self._vital = local_ray.vital_processes()

    def _join(self, address: str) -> None:
        import ray

        probe(address)
        self._answers = True
        # Nodes get this dvc-ray, whatever they have installed: driver and workers must speak the same protocol.
        ours = {"py_modules": [str(Path(__file__).parents[2])], "excludes": ["**/__pycache__", "*.pyc"]}
        self._has_driver = True
        try:
            ray.init(address=address, runtime_env=ours, **_QUIET)
        except ConnectionError:
            if not use_token():
                raise
            ray.init(address=address, runtime_env=ours, **_QUIET)
        self.head = next((node["NodeID"] for node in ray.nodes() if HEAD in node["Resources"]), "")


def _why_not_started() -> str:
    """Advice for a local Ray that does not start."""
    if limits := in_the_way():
        options = ", ".join(f"`ulimit {limit}`" for limit in limits)
        return f"Ray may need more than this shell allows ({options}): raise it there, or see why {IN_CAUSE}."
    return f"See why {IN_CAUSE}."


def _why_not_joined(*, answers: bool) -> str:
    """Advice for a cluster that cannot be joined; Ray mentions tokens only in lines that it prints (2.60.0).

    Args:
        answers: Whether something listens at its address.
    """
    if not answers:
        return "Try it: ray status"
    again = "Try it: RAY_AUTH_MODE=token ray status"
    if not has_token():
        where = "into ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH"
        return f"If it asks for a token (`ray get-auth-token` shows it on the head), put that {where}. {again}"
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return f"If it asks for a token, yours is shown to it with RAY_AUTH_MODE=token. {again}"
    return f"If it asks for a token: is yours the one that `ray get-auth-token` shows on the head? {again}"
