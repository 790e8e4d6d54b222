"""One host: its processes, its file system and its cable."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.testbed import cgroups
from tests.testbed.needs import find, with_sbin

_HERE: Final = Path(__file__).parent
PROJECT: Final = _HERE.parents[1]
HOME: Final = "/root"
SHARED: Final = "/shared"
"""Where hosts see a directory that several of them have, as one by NFS."""
_BOOT: Final = 'until test -e "$DISK/go"; do sleep 0.02; done; exec "$@"'
"""Boots when the host has its network interface."""
_BOOT_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cable:
    """The host's place in the network."""

    address: str
    gateway: str
    prefix: int
    switch: int
    """Process in whose network namespace the bridge is."""

    @property
    def port(self) -> str:
        """Name of its end at the bridge."""
        return f"v{self.address.replace('.', '-')[-13:]}"


class Host:
    """A host of the testbed; switched on when made.

    Args:
        name: Its host name.
        cable: Its place in the network.
        disk: Directory of the machine that holds what the host writes.
        memory: Bytes its processes may have together.
        env: Variables of every command run on it.
        shared: Directory of the machine that it sees at `SHARED`, as other hosts do; None: it sees none.
    """

    def __init__(
        self,
        name: str,
        cable: Cable,
        disk: Path,
        memory: int,
        env: Mapping[str, str],
        shared: Path | None = None,
    ) -> None:
        self.name = name
        self.cable = cable
        self.disk = disk
        self._memory = memory
        self._env = dict(env)
        self._shared = shared
        self._init = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._cgroup = cgroups.Cgroup(f"dvc-ray-{disk.parent.name}-{name}")
        self.start()

    @property
    def address(self) -> str:
        """Its IP address."""
        return self.cable.address

    @property
    def root(self) -> Path:
        """Its file system as the machine sees it; without what is mounted in it."""
        return self.disk / "root"

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_memory_limit(self) -> bool:
        """Whether the machine can limit its memory."""
        return self._cgroup.path is not None

    # Power

    def start(self) -> None:
        """Switch it on, with the disk it had; returns when it takes commands."""
        assert not self.is_on
        booted = self.root / "run/booted"
        booted.unlink(missing_ok=True)
        self._cgroup.make(self._memory)
        go = self.disk / "go"
        go.unlink(missing_ok=True)
        # It dies with us: setpriv has the kernel kill unshare then, unshare has it kill the first process of the host,
        # and with that one all others of its process namespace.
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--uts", "--ipc", "--pid"),
                *(
                    "--fork",
                    "--kill-child",
                    "bash",
                    "-c",
                    self._cgroup.joined('until test -e "$DISK/go"; do sleep 0.02; done; exec "$@"'),
                ),
                *("boot", str(_HERE / "boot.sh")),
            ],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._boot_variables()},
            stdin=subprocess.DEVNULL,
            stderr=(self.disk / "boot.log").open("wb"),
            start_new_session=True,
        )
        self._init = _child_of(self._process)
        self._plug_in()
        go.touch()
        self._await(booted)

    def kill(self) -> None:
        """Power off, as when the cable is pulled out of the wall: nothing is written any more. The disk stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._unplug()
            self._cgroup.remove()

    def terminate(self) -> None:
        """Power off for ever: the disk is gone."""
        self.kill()
        shutil.rmtree(self.disk, ignore_errors=True)

    # Commands

    def argv(self, command: Sequence[str], cwd: str = HOME, env: Mapping[str, str] | None = None) -> list[str]:
        """A command line of the machine that runs a command on the host."""
        assert (self.root / "run/booted").exists(), "before that it would see the machine's files"
        values = {**self._environment(), **(env or {})}
        return [
            *("bash", "-c", self._cgroup.joined('exec "$@"'), "join"),
            *("nsenter", "--target", str(self._init), "--mount", "--net", "--uts", "--ipc", "--pid", "--root"),
            *("env", "--ignore-environment", f"--chdir={cwd}", *(f"{name}={text}" for name, text in values.items())),
            *command,
        ]

    def run(
        self,
        *command: str,
        cwd: str = HOME,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 300,
        input: str | None = None,  # noqa: A002  as subprocess.run has it
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it and wait.

        Raises:
            AssertionError: It failed, and that is checked.
        """
        done = subprocess.run(
            self.argv(command, cwd, env), capture_output=True, text=True, timeout=timeout, check=False, input=input
        )
        if check and done.returncode:
            raise AssertionError(
                f"{self.name}$ {' '.join(command)}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def sh(self, script: str, cwd: str = HOME, env: Mapping[str, str] | None = None) -> str:
        """Run a shell script on it; returns what it prints.

        Raises:
            AssertionError: It failed.
        """
        return self.run("bash", "-ec", script, cwd=cwd, env=env).stdout

    def spawn(
        self, *command: str, cwd: str = HOME, env: Mapping[str, str] | None = None, log: str | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on it and go on.

        Args:
            command: What to run.
            cwd: Where.
            env: Further variables.
            log: File of the host that takes what it prints; None: pipes.
        """
        out = subprocess.PIPE if log is None else (self.root / log.lstrip("/")).open("ab")
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self.argv(command, cwd, env)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    # Cable

    def cut(self) -> None:
        """Take it off the network; who is connected to it is not told."""
        self._at_switch("ip", "link", "set", self.cable.port, "down")

    def heal(self) -> None:
        """Put it back."""
        self._at_switch("ip", "link", "set", self.cable.port, "up")

    def slow(self, *, rate: str | None = None, delay: str | None = None) -> None:
        """Make its network bad, both ways; without arguments good again.

        Args:
            rate: Bits a second, as `tc` has it: ``10mbit``.
            delay: Each way, as `tc` has it: ``20ms``; needs a kernel with netem (`needs.has_netem`).
        """
        shaping = ["noqueue"]
        if delay is not None:
            shaping = ["netem", "delay", delay, *(("rate", rate) if rate else ())]
        elif rate is not None:
            shaping = ["tbf", "rate", rate, "burst", "64kb", "latency", "400ms"]
        for run, device in ((self._at_switch, self.cable.port), (self._inside, "eth0")):
            run("tc", "qdisc", "replace", "dev", device, "root", *shaping)

    def traffic(self) -> int:
        """Bytes that have crossed its cable since it was switched on, both ways together."""
        (found,) = json.loads(self._read("ip", "-s", "-j", "link", "show", "eth0"))
        return int(found["stats64"]["rx"]["bytes"]) + int(found["stats64"]["tx"]["bytes"])

    # Parts

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": HOME,
            "USER": "root",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": _path(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "DVC_NO_ANALYTICS": "1",
            **self._env,
        }

    def _boot_variables(self) -> dict[str, str]:
        base, venv = os.path.realpath(sys.base_prefix), sys.prefix
        return {
            "NAME": self.name,
            "ADDRESS": self.address,
            "DISK": str(self.disk),
            "READ_ONLY": ":".join(path for path in (base, str(PROJECT / "src")) if not path.startswith("/usr")),
            "WRITABLE": venv if venv != sys.base_prefix else "",
            "SHARED": str(self._shared or ""),
            "CGROUP": str(self._cgroup.path or ""),
            "CGROUP_AT": str(self._cgroup.at),
            "SHM": str(self._memory * 3 // 8),  # an object store is 30 % of the memory, and must fit
            "SSHD": find("sshd") or "true",
            "HOST_PATH": _path(),
        }

    def _plug_in(self) -> None:
        cable = self.cable
        _run(
            *("ip", "link", "add", cable.port, "netns", str(cable.switch), "type", "veth"),
            *("peer", "name", "eth0", "netns", str(self._init)),
        )
        self._at_switch("ip", "link", "set", cable.port, "master", "br0", "up")
        self._inside("ip", "address", "add", f"{cable.address}/{cable.prefix}", "dev", "eth0")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "link", "set", "eth0", "up")
        self._inside("ip", "route", "add", "default", "via", cable.gateway)

    def _unplug(self) -> None:
        """Take its end of the cable away: the kernel does it too, but some time later."""
        with contextlib.suppress(AssertionError):
            self._at_switch("ip", "link", "delete", self.cable.port)

    def _at_switch(self, *command: str) -> None:
        _run("nsenter", "--target", str(self.cable.switch), "--net", *command)

    def _inside(self, *command: str) -> None:
        _run("nsenter", "--target", str(self._init), "--net", *command)

    def _read(self, *command: str) -> str:
        inside = ["nsenter", "--target", str(self._init), "--net", *command]
        return subprocess.check_output(inside, env=with_sbin(), text=True)

    def _await(self, booted: Path) -> None:
        deadline = time.monotonic() + _BOOT_PATIENCE
        while not booted.exists():
            assert self._process is not None
            log = (self.disk / "boot.log").read_text()
            assert self._process.poll() is None, f"{self.name} does not boot: {log}"
            assert time.monotonic() < deadline, f"{self.name} does not boot in time: {log}"
            time.sleep(0.02)


def _path() -> str:
    return f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def _run(*command: str) -> None:
    done = subprocess.run(command, env=with_sbin(), capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(command)}: {done.stderr}"


def _child_of(process: subprocess.Popen[bytes]) -> int:
    """The first process of the new process namespace: the child of unshare."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + _BOOT_PATIENCE
    while not (found := path.read_text().split()):
        assert process.poll() is None, "unshare has failed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return int(found[0])
