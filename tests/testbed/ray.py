"""Ray on hosts, started as by hand: a head that runs no tasks, workers that join it, tokens on."""

from __future__ import annotations

import json
import secrets
from typing import Final

from tests.testbed.host import Host

_PORT: Final = 6379


class RayCluster:
    """A Ray cluster on hosts.

    Args:
        head: Where its head runs, and the user's dvc-ray.
        dashboard: Whether it has one, which Ray Jobs need; it takes seconds to start.
    """

    def __init__(self, head: Host, *, dashboard: bool = False) -> None:
        self.head = head
        self.token = secrets.token_hex(32)
        self._give_token(head)
        self._start(head, "--head", f"--port={_PORT}", "--num-cpus=0", f"--include-dashboard={str(dashboard).lower()}")

    @property
    def address(self) -> str:
        """Where drivers join it."""
        return f"{self.head.address}:{_PORT}"

    def join(
        self, host: Host, *, num_cpus: int, labels: dict[str, str] | None = None, options: tuple[str, ...] = ()
    ) -> None:
        """Have a host join it as a worker node."""
        self._give_token(host)
        marks = [f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []
        self._start(host, f"--address={self.address}", f"--num-cpus={num_cpus}", *marks, *options)

    def environment(self) -> dict[str, str]:
        """Variables of a driver."""
        return {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": self.address}

    def nodes(self) -> dict[str, bool]:
        """The nodes it knows by address, and whether each is alive."""
        script = (
            "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR')\n"
            "print(json.dumps({node['NodeManagerAddress']: node['Alive'] for node in ray.nodes()}))"
        )
        found: dict[str, bool] = json.loads(self.head.run("python", "-c", script, env=self.environment()).stdout)
        return found

    def _give_token(self, host: Host) -> None:
        folder = host.root / "root/.ray"
        folder.mkdir(exist_ok=True)
        (folder / "auth_token").write_text(self.token)

    def _start(self, host: Host, *options: str) -> None:
        # Workers do not look for the token by themselves: without RAY_AUTH_MODE the head refuses them.
        host.run(
            *("ray", "start", *options, f"--node-ip-address={host.address}", "--disable-usage-stats"),
            env={"RAY_AUTH_MODE": "token"},
        )
