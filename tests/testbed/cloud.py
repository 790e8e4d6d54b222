"""The network the hosts are on, and the services of a cloud in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.testbed import cgroups
from tests.testbed.host import Cable, Host
from tests.testbed.needs import lacking, with_sbin
from tests.testbed.services import Ec2, Metadata, Service
from tests.testbed.store import Store

GATEWAY: Final = "172.31.255.254"
"""The bridge: within moto's default VPC, 172.31.0.0/16."""
_PREFIX: Final = 16
_METADATA: Final = "169.254.169.254"
_PLACE: Final = Path(tempfile.gettempdir(), "dvc-ray-testbed")
_GIB: Final = 1 << 30


class Testbed:
    """Hosts, their network and its services; a context manager, after which nothing of it is left.

    All of it dies with the process that made it, however that ends; what then lies on the disk, the next one removes.

    Raises:
        RuntimeError: The machine does not offer what it needs.
    """

    __test__ = False  # not a test

    def __init__(self) -> None:
        if why := lacking():
            raise RuntimeError(why)
        _reap()
        self.name = f"t{os.getpid()}-{secrets.token_hex(2)}"
        self.place = _PLACE / self.name
        self.place.mkdir(parents=True)
        self._lock = (self.place / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.hosts: dict[str, Host] = {}
        self._services: list[Service] = []
        self._numbers = iter(range(1, 1 << 14))
        self._switch = _switch()
        self.key = self._make_key()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down."""
        for host in list(self.hosts.values()):
            host.terminate()
        for service in self._services:
            service.stop()
        self._switch.kill()
        self._switch.wait()
        shutil.rmtree(self.place, ignore_errors=True)
        self._lock.close()
        with contextlib.suppress(OSError):
            _PLACE.rmdir()

    def host(
        self,
        name: str,
        *,
        memory: int = 4 * _GIB,
        env: Mapping[str, str] | None = None,
        shared: Path | None = None,
    ) -> Host:
        """Make a host and switch it on.

        Args:
            name: Its host name; new.
            memory: Bytes its processes may have together.
            env: Variables of every command run on it, beside those that lead to the services.
            shared: Directory of the machine that it sees at `/shared`, as other hosts that are given it.
        """
        assert name not in self.hosts
        number = next(self._numbers)
        cable = Cable(f"172.31.{number // 256}.{number % 256}", GATEWAY, _PREFIX, self._switch.pid)
        disk = self.place / name
        disk.mkdir()
        shutil.copy(f"{self.key}.pub", disk / "authorized_keys")
        self.hosts[name] = Host(name, cable, disk, memory, {**self.environment(), **(env or {})}, shared)
        return self.hosts[name]

    def remove(self, host: Host) -> None:
        """Take a host out for ever."""
        host.terminate()
        del self.hosts[host.name]

    def store(self, name: str = "s3") -> Store:
        """Make a host with an S3 server; its buckets are reachable from all hosts made afterwards."""
        return Store(self.host(name))

    def metadata(self) -> Metadata:
        """Start what answers at 169.254.169.254: credentials of the instance's role, and the spot notice."""
        service = Metadata(self._switch.pid, self.place / "metadata", _METADATA)
        self._services.append(service)
        return service

    def ec2(self) -> Ec2:
        """Start what answers as EC2 and IAM (moto); it takes any credentials."""
        service = Ec2(self._switch.pid, self.place / "ec2", GATEWAY)
        self._services.append(service)
        return service

    def environment(self) -> dict[str, str]:
        """Variables that lead a host's commands to the services there are."""
        found: dict[str, str] = {}
        for service in self._services:
            found |= service.environment()
        return found

    def __repr__(self) -> str:
        return json.dumps({name: host.address for name, host in self.hosts.items()})

    def _make_key(self) -> Path:
        key = self.place / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        return key


def _switch() -> subprocess.Popen[bytes]:
    """A process whose network namespace holds the bridge.

    The bridge has an address of its own choosing: with that of its lowest port it would change when hosts come and go,
    and others' caches would hold the old one for a minute.
    """
    # Without a route out, what is sent outside is refused at once then, not waited for.
    forwards = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-ec", f"{forwards}; echo; exec sleep infinity"],
        env=with_sbin(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    for command in (
        "ip link set lo up",
        "ip link add br0 address 02:00:00:00:00:01 type bridge",
        f"ip address add {GATEWAY}/{_PREFIX} dev br0",
        f"ip address add {_METADATA}/32 dev br0",
        "ip link set br0 up",
    ):
        inside = ["nsenter", "--target", str(process.pid), "--net", *command.split()]
        subprocess.run(inside, env=with_sbin(), check=True)
    return process


def _reap() -> None:
    """Remove what testbeds have left on the disk whose process was killed."""
    for place in _PLACE.glob("*"):
        with contextlib.suppress(OSError), (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
            cgroups.reap(place.name)
