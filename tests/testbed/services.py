"""Services of a cloud, as processes in the network of the hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.testbed.host import Host
from tests.testbed.needs import script

ROLE: Final = "dvc-ray-node"
_PATIENCE: Final = 60.0


class Service:
    """A process in the bridge's network namespace.

    Args:
        switch: Process in whose network namespace the bridge is.
        place: Directory for what it writes.
    """

    def __init__(self, switch: int, place: Path) -> None:
        place.mkdir()
        self.place = place
        self._log = place / "log"
        self._switch = switch
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Variables that lead a host's commands to it."""
        return {}

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, command: Sequence[str], url: str, env: Mapping[str, str]) -> None:
        """Start it and wait until a URL of it answers."""
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self._in_network(*command)],
            stdin=subprocess.DEVNULL,
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.place), **env},
        )
        ask = self._in_network(sys.executable, "-c", _ASK, url)
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run(ask, check=False, capture_output=True).returncode:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def _in_network(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._switch), "--net", *command]


_ASK: Final = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"


class Metadata(Service):
    """The metadata service of all hosts.

    Args:
        switch: Process in whose network namespace the bridge is.
        place: Directory for what it writes.
        address: Where it answers.
    """

    def __init__(self, switch: int, place: Path, address: str) -> None:
        super().__init__(switch, place)
        self._state: dict[str, Any] = {"spot": {}}
        self._save()
        program = str(Path(__file__).with_name("metadata.py"))
        self._start([sys.executable, program, address, str(self.place / "state")], f"http://{address}/latest/", {})

    def grant(self, key: str, secret: str) -> None:
        """Give all hosts a role with these credentials."""
        now = datetime.now(UTC)
        self._state["role"] = ROLE
        self._state["credentials"] = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": _time(now),
            "Expiration": _time(now + timedelta(hours=6)),
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": "",
        }
        self._save()

    def announce_end(self, host: Host, seconds: float = 120) -> None:
        """Give a host the notice that its spot instance ends."""
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        self._state["spot"][host.address] = {"action": "terminate", "time": _time(at)}
        self._save()

    def _save(self) -> None:
        new = self.place / "state.new"
        new.write_text(json.dumps(self._state))
        new.replace(self.place / "state")


class Ec2(Service):
    """EC2 and IAM by moto; its state is in memory.

    Args:
        switch: Process in whose network namespace the bridge is.
        place: Directory for what it writes.
        address: Where it answers, at port 5000.
    """

    def __init__(self, switch: int, place: Path, address: str) -> None:
        super().__init__(switch, place)
        self.url = f"http://{address}:5000"
        command = [sys.executable, script("moto_server"), "-H", address, "-p", "5000"]
        self._start(command, f"{self.url}/moto-api/data.json", {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"})

    def environment(self) -> dict[str, str]:
        """Only EC2 and IAM: S3 has a real server."""
        return {"AWS_ENDPOINT_URL_EC2": self.url, "AWS_ENDPOINT_URL_IAM": self.url, "AWS_ENDPOINT_URL_STS": self.url}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
