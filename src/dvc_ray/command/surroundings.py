"""Process attributes that children inherit besides the environment, read where the user calls."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dvc_ray.values.surroundings import Surroundings

_OOM: Final = "oom_score_adj"
_RESET: Final = {signal.SIGPIPE, signal.SIGXFSZ}
"""Ignored by Python itself, and reset by ``subprocess.Popen`` for all it starts."""
_IN_THE_WAY: Final = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "NPROC", "SIGPENDING")
"""Limits that are meant for commands, and under which Ray may fail to start. (Ray itself raises that of open files.)"""


def here() -> Surroundings:
    """The attributes that stock DVC, called here, would hand down; call it before Ray changes some of them."""
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    return Surroundings(
        oom_score_adj=_oom_score(os.getpid()),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        umask=_umask(),
        ignored=tuple(sorted(map(int, ignored - _RESET))),
        blocked=tuple(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))),
        limits=tuple((number, *resource.getrlimit(number)) for number in sorted(_limits().values())),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
    )


def of_process(pid: int) -> Surroundings:
    """The attributes of another process, as far as Ray gives its workers others than its own."""
    nice = None
    with contextlib.suppress(OSError):
        nice = os.getpriority(os.PRIO_PROCESS, pid)
    return Surroundings(oom_score_adj=_oom_score(pid), nice=nice)


def take_oom_score(wanted: Surroundings) -> None:
    """Let this process be killed for lack of memory no sooner than its command, which uses most of it."""
    if wanted.oom_score_adj is not None:
        with contextlib.suppress(OSError):
            Path("/proc/self", _OOM).write_text(str(wanted.oom_score_adj))


def lift_limits() -> Callable[[], None]:
    """Raise limits under which Ray may not start, as far as this process may; returns a function that restores them."""
    before = {number: resource.getrlimit(number) for name, number in _limits().items() if name in _IN_THE_WAY}
    for number, (_, hard) in before.items():
        try:
            resource.setrlimit(number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):  # only the superuser may exceed the hard limit
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(number, (hard, hard))

    def put_back() -> None:
        for number, limits in before.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(number, limits)

    return put_back


def in_the_way() -> tuple[str, ...]:
    """Limits of this process that Ray may not start under, as options of ``ulimit`` in their units."""
    found = {name: resource.getrlimit(number)[0] for name, number in _limits().items() if name in _TIGHT}
    units = {name: (option, unit) for name, (option, unit, _) in _TIGHT.items()}
    return tuple(
        f"-{units[name][0]} {soft // units[name][1]}"
        for name, soft in found.items()
        if soft != resource.RLIM_INFINITY and soft < _TIGHT[name][2]
    )


_TIGHT: Final = {
    "AS": ("v", 1024, 1 << 36),
    "CPU": ("t", 1, 600),
    "DATA": ("d", 1024, 1 << 35),
    "FSIZE": ("f", 1024, 1 << 34),
    "NOFILE": ("n", 1, 256),
    "NPROC": ("u", 1, 1024),
}
"""By name: option and unit of bash's ``ulimit``, and the value below which to name a limit when Ray does not start."""


def _limits() -> dict[str, int]:
    """The kernel's limits by name; some have two names."""
    prefix = "RLIMIT_"
    found = {name.removeprefix(prefix): getattr(resource, name) for name in dir(resource) if name.startswith(prefix)}
    found.pop("OFILE", None)
    return found


def _oom_score(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}", _OOM).read_text())
    return None


def _umask() -> int:
    """Read the umask without changing it, as `os.umask` must, while other threads create files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
